//! What must hold for any bytes from the host and for any tables of the guest's kernel. Each function takes a fuzzer's input and panics when
//! a property does not hold; the targets under `fuzz/` call them, and the tests here replay the corpus. Nothing is ever done to the machine:
//! the session has the right to nothing.

#[path = "../../fuzz/shared/script.rs"]
mod script;

use crate::{
    boot::Cmdline,
    exec::Account,
    machine::{Channel, PowerOff},
    metrics, network, session,
};
use api::guest::{AgentMessage, Decoder, Frame, FrameKind, HostMessage};

/// The nonce of the session that is on, where one is.
const NONCE: u64 = 7;

/// A session. The first byte: 1, it has been settled; 2, the rest goes on the wire as it is.
pub fn host(input: &[u8]) {
    let Some((how, rest)) = input.split_first() else { return };
    let settled = how & 1 == 1;
    let wire = if how & 2 == 2 { rest.to_vec() } else { script::wire(rest) };
    let (heard, ended) = (frames(&wire), session::fuzz(&wire, settled.then_some(NONCE)));
    let answers = frames(&ended.written);
    let asked: Vec<&Frame> = heard.iter().filter(|frame| frame.kind == FrameKind::Control).collect();
    assert!(answers.len() <= asked.len(), "{} answers to {} messages", answers.len(), asked.len());
    for answer in &answers {
        assert_eq!(answer.kind, FrameKind::Control, "a session without an exec has nothing else to say");
        let message: AgentMessage = serde_json::from_slice(&answer.payload).expect("the agent speaks JSON");
        let pings = asked.iter().filter(|frame| matches!(serde_json::from_slice(&frame.payload), Ok(HostMessage::Ping)));
        match message {
            AgentMessage::Done => assert!(settled, "something was done without a session"),
            AgentMessage::Hello(hello) => assert_eq!((settled, hello.nonce), (true, NONCE)),
            AgentMessage::Failed(_) => assert!(asked.iter().any(|frame| frame.stream == answer.stream)),
            other => panic!("{other:?} after {} pings", pings.count()),
        }
    }
    let hello = heard.iter().any(|frame| matches!(serde_json::from_slice(&frame.payload), Ok(HostMessage::Hello(_))));
    assert!(!ended.by_hello || hello, "a hello that nobody said");
}

fn frames(mut wire: &[u8]) -> Vec<Frame> {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    while !wire.is_empty() {
        let (taken, frame) = decoder.push(wire);
        frames.extend(frame);
        wire = &wire[taken..];
    }
    frames
}

/// What the kernel and the image tell: the first byte says which table the rest is.
pub fn tables(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match which % 7 {
        0 => network::fuzz(rest),
        1 => metrics::fuzz(&text),
        2 => cmdline(&text),
        3 => account(&text),
        4 => network::fuzz_mac(&text),
        5 => metrics::fuzz_counters(&text),
        _ => network::fuzz_written(rest),
    }
}

fn cmdline(text: &str) {
    let line = Cmdline::parse(text);
    for value in [line.root(), line.init(), line.root_flags(), Some(line.filesystem())].into_iter().flatten() {
        assert!(!value.is_empty() && (text.contains(value) || value == "ext4"), "{value:?} does not stand in {text:?}");
    }
    if let Some(network) = line.network() {
        let words = text.matches(',').count() + text.split_ascii_whitespace().count();
        assert!(network.addresses.len() + network.gateways.len() + network.dns.len() <= 3 * words);
    }
    for network in line.further_networks() {
        let mac = network.interface.expect("by its MAC");
        assert!(text.contains(&mac.replace(':', "")) && network.addresses.len() == 1 && network.gateways.is_empty(), "{mac}");
    }
    let machine = line.machine();
    assert!(machine.channel == Channel::Port || text.contains("hearth.agent=vsock"));
    assert!(machine.power_off == PowerOff::Itself || text.contains("hearth.poweroff=reboot"));
    // A word in front changes nothing about those behind it: the last one wins.
    let longer = format!("root=/dev/first init=/first {text}");
    let longer = Cmdline::parse(&longer);
    assert!(line.root().is_none() || line.root() == longer.root());
    assert!(line.init().is_none() || line.init() == longer.init());
}

/// `user NUL passwd NUL group`.
fn account(text: &str) {
    let mut parts = text.splitn(3, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let (user, passwd, group) = (part(), part(), part());
    if let Ok(found) = Account::parse(user, passwd, group) {
        let who = user.split(':').next().unwrap_or_default();
        assert!(found.name == who || found.uid.to_string() == who || passwd.contains(who), "{user:?} is {found:?}");
        assert!(found.groups.len() <= group.lines().count());
    }
}

#[cfg(test)]
mod tests;
