//! `vm connect`: standard input and output joined to a port in the guest.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::tty::{self, Ending, Heard, code_of_signal};
use api::client::{ConnectionEvent, ConnectionInput, GuestPort};
use clap::Args;
use rustix::termios::isatty;

pub const EXAMPLES: &str = "\
The guest needs no network, and no address that is reached from here: the port is one of its own loopback (127.0.0.1), by hearth's
agent; `vsock:PORT` is one of its vsock, on drivers that have one (Firecracker).

The end of standard input is told to the guest; ends when the guest has ended the connection as well, with 0. On Firecracker a vsock
connection has no half: its answer is lost unless the guest ends first, so keep standard input open there.

Examples:
  ssh -o ProxyCommand='hearth vm connect %h 22' root@web
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | hearth vm connect web 80
  hearth vm connect web vsock:5000";

#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Name or id
    vm: String,
    /// A TCP port of the guest's loopback, or vsock:PORT
    port: GuestPort,
}

pub async fn run(context: &Context, args: ConnectArgs) -> Result<(), CliError> {
    let mut ending = Ending::listen()?;
    let mut connection = context.client.connect(&args.vm, args.port).await.map_err(|error| context.explain(error, None))?;
    let interactive = isatty(std::io::stdin());
    let typing = tokio::spawn(pass_on(connection.input()));
    let end = loop {
        tokio::select! {
            event = connection.next() => match event {
                Ok(Some(ConnectionEvent::Bytes(bytes))) => if let Err(error) = output::bytes(&bytes) { break Err(error) },
                // Whoever types would have to press a key to see that it is over.
                Ok(Some(ConnectionEvent::Eof)) if interactive => break Ok(()),
                // What is still to be sent is sent, and whoever reads us learns of the end now: ssh waits for it.
                Ok(Some(ConnectionEvent::Eof)) => if let Err(error) = end_output() { break Err(error) },
                Ok(None) => break Ok(()),
                Err(error) => break Err(context.explain(error, None)),
            },
            heard = ending.next() => if let Heard::End(signal) = heard { break Err(CliError::Told(code_of_signal(i32::from(signal)))) },
        }
    };
    typing.abort();
    end
}

async fn pass_on(input: ConnectionInput) {
    let mut typed = tty::stdin();
    while let Some(bytes) = typed.recv().await {
        // The reader notices a lost connection and reports it.
        if input.send(bytes).await.is_err() {
            return;
        }
    }
    let _ = input.eof().await;
}

/// Closes standard output; its number stays taken, so that nothing else gets it.
fn end_output() -> Result<(), CliError> {
    let cannot = |source| CliError::Io { what: "cannot end the output", source };
    let nowhere = std::fs::File::options().write(true).open("/dev/null").map_err(cannot)?;
    rustix::stdio::dup2_stdout(nowhere).map_err(|error| cannot(error.into()))
}
