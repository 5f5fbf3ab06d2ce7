//! Seeds of the targets, and the replay of their corpus.

use super::*;

#[path = "../../../fuzz/shared/replay.rs"]
mod replay;

fn of(which: u8, text: &str) -> Vec<u8> {
    [&[which], text.as_bytes()].concat()
}

fn bodies() -> Vec<Vec<u8>> {
    let spec = r#"{"vcpus":1,"mem_mib":128,"image":"i","host":"h","kernel":"k","disk_mib":9,"cmdline":"c","networks":["default"],"restart":"never"}"#;
    vec![
        of(0, &format!(r#"{{"name":"a","project":"default","labels":{{"k":"v"}},"spec":{spec},"start":true}}"#)),
        of(0, r#"{"spec":[null,1,128,null,"i",null,null,[],"never"]}"#),
        of(0, &format!(r#"{{"labels":{{"k":"v","k":"w"}},"spec":{spec}}}"#)),
        of(1, r#"{"name":"b","labels":{},"spec":{"vcpus":2,"mem_mib":64,"cmdline":"","restart":{"always":null}}}"#),
        of(2, r#"{"force":true,"deadline_s":30}"#),
        of(3, r#"{"command":["sh"],"env":{"A":"b"},"cwd":"/","stdin":"x","timeout_s":5,"tty":{"cols":80,"rows":24}}"#),
        of(4, r#"{"name":"i","spec":{"kind":"kernel","path":"/k","initrd":"/i","default":true,"description":"d"}}"#),
        of(5, r#"{"name":"i","labels":null,"default":false,"description":""}"#),
        of(6, r#"{"labels":{"rack":"\u00e9\ud83e\udd80"}}"#),
        of(7, r#"{"resize":{"cols":1,"rows":65535},"eof":true,"signal":9,"exit":{"code":0},"error":"no"}"#),
        of(8, r#"{"resize":[80,24],"exit":{"signal":15}}"#),
        of(9, " {} "),
        of(9, r#"{"k":NaN}"#),
        of(0, &format!(r#"{{"{}":1}}"#, "k".repeat(3000))),
        of(1, &"[".repeat(500)),
        of(
            10,
            r#"{"name":"h","project":"p","labels":{"k":"v"},"spec":{"url":"https://a/","filter":{"kinds":["vm"],"types":["vm-started"],"ids":["x"],"project":"p"},"enabled":false,"timeout_s":3,"retry_for_s":0},"secret":"whsec_c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1l","after":0}"#,
        ),
        of(10, r#"{"name":"h","spec":{"url":"http://a/","filter":{"kinds":["cow",null]},"timeout_s":-1}}"#),
        of(
            11,
            r#"{"spec":{"url":"http://b/","filter":{},"enabled":true,"timeout_s":30,"retry_for_s":604800},"secret":"whsec_"}"#,
        ),
        of(12, r#"{"deliveries":[1,18446744073709551615,1]}"#),
        of(13, "whsec_c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1l"),
        of(13, "https://a.example.test:8443/hook?x=y"),
        of(13, "HTTP://a b vm-started"),
        of(14, r#"{"eof":true}"#),
        of(14, r#"{"eof":"yes","error":null}"#),
        of(0, r#"{"spec":{"vcpus":1,"mem_mib":64,"image":"i","drives":[{"name":"a-1","size_mib":9,"read_only":true}]}}"#),
        of(1, r#"{"spec":{"drives":[{"name":"a"},{"name":"b","size_mib":1,"read_only":false}],"remove_drives":["c","c"]}}"#),
    ]
}

fn queries() -> Vec<Vec<u8>> {
    let cursor = "dm1fMDFtODUxOGc0bXBrajFoMTYxazk4ejlxajg";
    vec![
        of(0, &format!("limit=5&cursor={cursor}&label=a%3Db&label=c%3d&state=running&name=x&project=default")),
        of(0, "limit=0&limit=1&colour=red&label=novalue"),
        of(1, "wait=300&after=18446744073709551615&follow=true&kind=vm&kind=host&id=x&project=p"),
        of(1, "wait=301&follow=perhaps&kind=cow&=&%ff=%"),
        of(2, cursor),
        of(2, "b3BfMDFtODUxOGc0bXBrajFoMTYxazk4ejlxajg"),
        of(3, "W/\"7\""),
        of(9, "key-1"),
        of(15, "W/\"6\", \"7\""),
        of(21, "application/json; charset=utf-8"),
        of(27, "req-1.x"),
    ]
}

fn texts() -> Vec<Vec<u8>> {
    vec![
        of(0, "1.5GiB"),
        of(0, "9e15"),
        of(1, "999d"),
        of(2, "team/a=x=y"),
        of(2, "k-"),
        of(3, "debian-12.5"),
        of(3, "vm_01m8518g4mpkj1h161k98z9qj8"),
        of(3, "op_01m8518g4mpkj1h161k98z9qjl"),
        of(3, "img_81m8518g4mpkj1h161k98z9qj0"),
        of(4, "\u{7f}\u{7f}\u{7f}\u{7f}"),
    ]
}

#[test]
fn body_corpus() {
    replay::replay("body", &bodies(), body);
}

#[test]
fn query_corpus() {
    replay::replay("query", &queries(), query);
}

#[test]
fn typed_corpus() {
    replay::replay("typed", &texts(), typed);
}
