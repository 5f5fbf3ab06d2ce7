//! The double's guest: a shell that echoes, and a few programs.

use super::double::problem;
use api::v1::{ExecControl, ExecRequest, Exit, TerminalControl};
use axum::extract::Path;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::{BufMut, BytesMut};

/// Echoes; answers a resize with `size COLSxROWS`; `exit N` ends it; `cut` breaks the connection.
pub async fn shell(Path(id): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    if id == "refused" {
        return problem(409, "vm-not-running", "vm refused is not running", "start it first");
    }
    upgrade.on_upgrade(move |mut socket| async move {
        if id == "late" {
            let close = CloseFrame { code: 4503, reason: "the agent is not there".into() };
            return drop(socket.send(Message::Close(Some(close))).await);
        }
        let _ = socket.send(Message::Binary("ready\r\n".into())).await;
        let mut line = Vec::new();
        while let Some(Ok(message)) = socket.recv().await {
            let answer = match message {
                Message::Binary(bytes) => {
                    line.extend_from_slice(&bytes);
                    bytes
                }
                Message::Text(text) => {
                    let control: TerminalControl = serde_json::from_str(&text).unwrap();
                    let size = control.resize.unwrap();
                    format!("size {}x{}\r\n", size.cols, size.rows).into()
                }
                _ => continue,
            };
            if socket.send(Message::Binary(answer)).await.is_err() {
                return;
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            if text.contains("cut") {
                return;
            }
            let code = text.split("exit ").nth(1).and_then(|rest| rest.trim_end_matches(['\r', '\n', '\x04']).parse().ok());
            let ended = text.ends_with(['\r', '\n', '\x04']);
            if let (Some(code), true) = (code, ended) {
                let control = TerminalControl { exit: Some(Exit { code: Some(code), signal: None }), resize: None };
                return end(socket, serde_json::to_string(&control).unwrap()).await;
            }
        }
    })
}

pub async fn exec(Path(id): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    if id == "refused" {
        return problem(409, "vm-not-running", "vm refused is not running", "start it first");
    }
    upgrade.on_upgrade(|mut socket| async move {
        let Some(Ok(Message::Text(first))) = socket.recv().await else { return };
        let request: ExecRequest = serde_json::from_str(&first).unwrap();
        let mut control = ExecControl::default();
        match request.command[0].as_str() {
            "nosuch" => control.error = Some("nosuch: not found on the guest's PATH".into()),
            "cut" => return,
            "cat" => control.exit = cat(&mut socket).await,
            "killed" => control.exit = Some(Exit { code: None, signal: Some(9) }),
            "wait" => control.exit = wait_for_signal(&mut socket).await,
            _ => {
                let _ = socket.send(frame(1, format!("{:?}", request.command).as_bytes())).await;
                let _ = socket.send(frame(2, b"oops\n")).await;
                control.exit = Some(Exit { code: Some(3), signal: None });
            }
        }
        end(socket, serde_json::to_string(&control).unwrap()).await;
    })
}

/// A port that echoes until it is told of the end; that of `greets` says so and has ended, and waits for the other end.
pub async fn connect(Path(id): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    if id == "refused" {
        return problem(409, "nobody-listens", "nobody listens at TCP port 80 of the guest", "start the service in the guest");
    }
    upgrade.on_upgrade(move |mut socket| async move {
        let greets = id == "greets";
        if greets {
            let _ = socket.send(Message::Binary("hello\n".into())).await;
            let _ = socket.send(Message::Text("{\"eof\":true}".into())).await;
        }
        let mut heard = Vec::new();
        while let Some(Ok(message)) = socket.recv().await {
            match message {
                Message::Binary(bytes) if bytes.starts_with(b"break") => {
                    let error = Message::Text("{\"error\":\"the VM is stopping\"}".into());
                    let _ = socket.send(error).await;
                    let close = CloseFrame { code: 1011, reason: "the VM is stopping".into() };
                    return drop(socket.send(Message::Close(Some(close))).await);
                }
                Message::Binary(bytes) if !greets => drop(socket.send(Message::Binary(bytes)).await),
                Message::Binary(bytes) => heard.extend_from_slice(&bytes),
                Message::Text(text) => {
                    assert_eq!(text.as_str(), "{\"eof\":true}");
                    // A goodbye that was lost leaves the command without an end.
                    assert!(!greets || heard == b"bye", "{heard:?}");
                    if !greets {
                        let _ = socket.send(Message::Text(text)).await;
                    }
                    return goodbye(&mut socket).await;
                }
                _ => {}
            }
        }
    })
}

fn frame(stream: u8, bytes: &[u8]) -> Message {
    let mut frame = BytesMut::new();
    frame.put_u8(stream);
    frame.extend_from_slice(bytes);
    Message::Binary(frame.freeze())
}

async fn cat(socket: &mut WebSocket) -> Option<Exit> {
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Binary(bytes) => {
                assert_eq!(bytes[0], 0);
                socket.send(frame(1, &bytes[1..])).await.ok()?;
            }
            Message::Text(text) => {
                let control: ExecControl = serde_json::from_str(&text).unwrap();
                if control.eof == Some(true) {
                    return Some(Exit { code: Some(0), signal: None });
                }
            }
            _ => {}
        }
    }
    None
}

async fn wait_for_signal(socket: &mut WebSocket) -> Option<Exit> {
    let _ = socket.send(frame(1, b"waiting\n")).await;
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(text) = message
            && let Some(signal) = serde_json::from_str::<ExecControl>(&text).unwrap().signal
        {
            return Some(Exit { code: None, signal: Some(signal) });
        }
    }
    None
}

async fn end(mut socket: WebSocket, last: String) {
    let _ = socket.send(Message::Text(last.into())).await;
    goodbye(&mut socket).await;
}

/// Says goodbye and waits for the answer: closing with something unread would reset the connection and lose what was sent.
pub async fn goodbye(socket: &mut WebSocket) {
    let _ = socket.send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).await;
    while let Some(Ok(_unread)) = socket.recv().await {}
}
