//! Bad edges are found whichever way they are written, good ones pass, and the checked-in list reads.

use super::*;

const SHARED: &str = "[workspace.dependencies]\ndomain = { path = \"domain\", package = \"hearth-domain\" }\ntokio = { version = \"1\", features = [\"rt-multi-thread\"] }\n";
const RULES: &str = "# why\ndomain: - | tokio\nactors: domain | axum\nguest: api | tokio/rt-multi-thread\n";

fn found(path: &str, text: &str) -> Vec<String> {
    let files = [("Cargo.toml", SHARED), (path, text)].map(|(path, text)| File { path: path.into(), text: text.into() });
    check(&files, &parse(RULES).unwrap()).iter().map(ToString::to_string).collect()
}

#[test]
fn allowed_edges_pass() {
    assert!(found("actors/Cargo.toml", "[dependencies]\ndomain.workspace = true\ntokio.workspace = true\n").is_empty());
    assert!(
        found(
            "guest/Cargo.toml",
            "[dependencies]\nhearth-api = { path = \"../api\" }\ntokio = { version = \"1\", features = [\"rt\"] }\n"
        )
        .is_empty()
    );
}

#[test]
fn a_forbidden_crate_is_found_in_every_kind_of_section() {
    for section in ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"] {
        let lines = found("domain/Cargo.toml", &format!("[{section}]\ntokio.workspace = true\n"));
        assert_eq!(lines.len(), 1, "{section}");
        assert!(lines[0].starts_with("domain/Cargo.toml:2: `domain` may not use `tokio`"), "{lines:?}");
    }
    assert_eq!(found("domain/Cargo.toml", "[dependencies.tokio]\nversion = \"1\"\n").len(), 1);
}

#[test]
fn a_new_name_hides_nothing() {
    assert_eq!(found("domain/Cargo.toml", "[dependencies]\nquiet = { package = \"tokio\", version = \"1\" }\n").len(), 1);
    assert_eq!(found("guest/Cargo.toml", "[dependencies]\nd = { path = \"../domain\" }\n").len(), 1);
}

#[test]
fn an_edge_upward_is_found() {
    assert_eq!(found("domain/Cargo.toml", "[dependencies]\nactors = { path = \"../actors\" }\n").len(), 1);
}

#[test]
fn a_forbidden_feature_is_found_also_from_the_shared_table() {
    assert_eq!(found("guest/Cargo.toml", "[dependencies]\ntokio.workspace = true\n").len(), 1);
}

#[test]
fn a_workspace_inside_has_a_shared_table_of_its_own() {
    let inner = "[workspace]\nmembers = [\"model\"]\n[workspace.dependencies]\ndomain = { path = \"../domain\" }\nmodel = { path = \"model\" }\n";
    let member = "[dependencies]\ndomain.workspace = true\n";
    let files = [("Cargo.toml", SHARED), ("ui/Cargo.toml", inner), ("ui/model/Cargo.toml", member)];
    let files = files.map(|(path, text)| File { path: path.into(), text: text.into() });
    let lines = |rules: &str| check(&files, &parse(rules).unwrap()).len();
    assert_eq!(lines("ui: ui/model | -\nui/model: domain | -\n"), 0);
    assert_eq!(lines("ui: ui/model | -\nui/model: - | -\n"), 1);
}

#[test]
fn a_crate_without_a_line_and_a_broken_manifest_are_found() {
    assert_eq!(found("new/Cargo.toml", "[package]\nname = \"new\"\n").len(), 1);
    assert_eq!(found("domain/Cargo.toml", "[dependencies\n").len(), 1);
}

#[test]
fn a_broken_list_is_refused() {
    assert!(parse("").is_err());
    assert!(parse("domain - | tokio\n").is_err());
    assert!(parse("domain: tokio\n").is_err());
}

#[test]
fn the_checked_in_list_reads() {
    let rules = parse(include_str!("../../../tidy/edges.txt")).unwrap();
    assert!(rules["domain"].may.is_empty());
    assert!(!rules["actors"].may.contains(&"api".to_owned()));
}
