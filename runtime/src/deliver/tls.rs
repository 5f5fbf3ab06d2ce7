//! TLS for deliveries: rustls with ring, and the certificates that the machine trusts (`SSL_CERT_FILE` names others). They are read when
//! the client is made, once.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, crypto::ring};
use std::sync::Arc;

/// Speaks http and https. Without any trusted certificate every https receiver is refused as unknown, and the log says why.
pub fn connector(tcp: HttpConnector) -> HttpsConnector<HttpConnector> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "certificates that webhooks are to trust can't be read");
    }
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            "there are no certificates to trust: webhooks can't use https; install ca-certificates, or look at SSL_CERT_FILE"
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp)
}

/// Why there is no secure connection, and what would mend it, without the names that certificates and addresses hold.
pub fn told(error: &Error) -> String {
    let why = match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => {
                "its certificate is signed by nobody whom this machine trusts; if it is yours, docs/WEBHOOKS.md says how to trust it"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet, or a clock is wrong"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name than the URL's"
            }
            CertificateError::Revoked => "its certificate is revoked",
            // Of the rest none holds a name.
            other => return format!("no secure connection to the receiver: its certificate is not in order: {other:?}"),
        },
        Error::InvalidMessage(_) => "it does not speak TLS",
        Error::AlertReceived(_) => "it refused the connection",
        Error::PeerIncompatible(_) => "it has no version or cipher of TLS in common with hearth: 1.2 and 1.3 are spoken",
        other => return format!("no secure connection to the receiver: {other}"),
    };
    format!("no secure connection to the receiver: {why}")
}
