//! What can be told without a server: addresses, paths, problems.

use super::error::ClientError;
use super::http::{Client, problem_of};
use super::page::ListQuery;

#[test]
fn addresses_are_checked_at_once() {
    for bad in ["127.0.0.1:18080", "ftp://x", "", "https://example.test", "http://"] {
        assert!(matches!(Client::new(bad, None), Err(ClientError::Address { .. })), "{bad}");
    }
    assert_eq!(Client::new("http://127.0.0.1:1/", None).unwrap().base_url(), "http://127.0.0.1:1");
}

#[test]
fn names_cannot_leave_their_place_in_the_path() {
    let client = Client::new("http://h:1/prefix/", None).unwrap();
    assert_eq!(client.url(&["v1", "vms", "a/b?c#d"]).unwrap().as_str(), "http://h:1/prefix/v1/vms/a%2Fb%3Fc%23d");
    for bad in ["", ".", ".."] {
        assert!(matches!(client.url(&["v1", "vms", bad]), Err(ClientError::Name { .. })), "{bad:?}");
    }
}

#[test]
fn a_token_with_a_line_break_inside_is_refused() {
    assert!(matches!(Client::new("http://h:1", Some("a\nb")), Err(ClientError::Token)));
    assert!(Client::new("http://h:1", Some("a\n")).is_ok());
}

#[test]
fn an_answer_that_is_no_problem_is_quoted() {
    let error = problem_of("http://h:1/v1/vms", 502, b"<html>bad gateway</html>");
    assert_eq!(error.to_string(), "http://h:1/v1/vms answered something unexpected: status 502: <html>bad gateway</html>");
    let error = problem_of("http://h:1", 409, br#"{"title":"t","code":"name-taken","detail":"d","hint":"h"}"#);
    assert_eq!((error.code(), error.status(), error.hint().as_str()), (Some("name-taken"), Some(409), "h"));
}

#[test]
fn filters_become_a_query() {
    let mut url = reqwest::Url::parse("http://h:1/v1/vms").unwrap();
    let query = ListQuery { labels: vec!["a=b c".into(), "d=e".into()], state: Some("running".into()), ..ListQuery::default() };
    query.apply(&mut url);
    assert_eq!(url.query(), Some("label=a%3Db+c&label=d%3De&state=running"));
}
