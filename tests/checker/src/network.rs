//! Network devices and rules: a TAP for each VM that runs with an address and for no other, one bridge, one table, nothing that names a
//! device that is not there.

use crate::{Finding, Kind, Seen, Target};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{collections::BTreeSet, process::Command};

pub fn check(target: &Target, seen: &Seen) -> Result<Vec<Finding>> {
    let links = links()?;
    let mut findings = devices(target, seen, &links)?;
    if let Some(bridge) = &target.bridge {
        findings.extend(rules(bridge, &links)?);
    }
    Ok(findings)
}

fn devices(target: &Target, seen: &Seen, links: &[Value]) -> Result<Vec<Finding>> {
    let owner = target.owner()?;
    let mut findings = Vec::new();
    let mut found = BTreeSet::new();
    for link in links {
        let name = link["ifname"].as_str().unwrap_or_default();
        let alias = link["ifalias"].as_str().unwrap_or_default();
        let on_bridge = target.bridge.as_deref().is_some_and(|bridge| link["master"] == bridge);
        let what = alias.strip_prefix(&format!("hearth:{owner}:"));
        match what {
            Some("bridge") if target.bridge.as_deref() == Some(name) => {}
            Some(vm) if seen.vms.get(vm).is_some_and(|vm| vm.pid.is_some()) => {
                if !found.insert(vm.to_owned()) {
                    findings.push(Finding::new(Kind::OrphanDevice, format!("{name} is a second one of {vm}")));
                }
                if !on_bridge {
                    findings.push(Finding::new(Kind::LostDevice, format!("{name} of {vm} is on no bridge")));
                }
            }
            Some(vm) => findings.push(Finding::new(Kind::OrphanDevice, format!("{name} of {vm}, which does not run"))),
            None if on_bridge => findings.push(Finding::new(Kind::OrphanDevice, format!("{name} is on the bridge and nobody's"))),
            None => {}
        }
    }
    if target.bridge.is_some() {
        let want = seen.vms.iter().filter(|(_, vm)| vm.pid.is_some() && vm.networked && !vm.simulated);
        for (id, vm) in want.filter(|(id, _)| !found.contains(*id)) {
            findings.push(Finding::new(Kind::LostDevice, format!("{id} ({}) runs without its own", vm.name)));
        }
    }
    Ok(findings)
}

fn links() -> Result<Vec<Value>> {
    Ok(serde_json::from_slice(&output("ip", &["-j", "-d", "link"])?)?)
}

/// The bridge's table is there, and no table of hearth's belongs to a bridge that is not.
fn rules(bridge: &str, links: &[Value]) -> Result<Vec<Finding>> {
    let listed: Value = serde_json::from_slice(&output("nft", &["-j", "list", "ruleset"])?)?;
    let entries = listed["nftables"].as_array().cloned().unwrap_or_default();
    let devices: BTreeSet<&str> = links.iter().filter_map(|link| link["ifname"].as_str()).collect();
    let own = format!("hearth_{bridge}");
    let mut findings = Vec::new();
    let tables: Vec<String> = entries.iter().filter_map(|entry| entry["table"]["name"].as_str()).map(str::to_owned).collect();
    if !tables.contains(&own) {
        findings.push(Finding::new(Kind::LostRule, format!("there is no table {own}")));
    }
    for table in tables.iter().filter(|table| **table != own) {
        if let Some(of) = table.strip_prefix("hearth_")
            && !devices.contains(of)
        {
            findings.push(Finding::new(Kind::OrphanRule, format!("the table {table}, whose bridge is not there")));
        }
    }
    for entry in &entries {
        let Some(rule) = entry.get("rule").filter(|rule| rule["table"] == *own) else { continue };
        for name in devices_in(rule).iter().filter(|name| !devices.contains(name.as_str())) {
            findings
                .push(Finding::new(Kind::OrphanRule, format!("one in {own} {} names {name}, which is not there", rule["chain"])));
        }
    }
    Ok(findings)
}

/// The devices that a rule compares with.
fn devices_in(rule: &Value) -> Vec<String> {
    let matches = rule["expr"].as_array().into_iter().flatten().map(|statement| &statement["match"]);
    let by_name = matches.filter(|compared| ["iifname", "oifname"].iter().any(|key| compared["left"]["meta"]["key"] == *key));
    by_name.filter_map(|compared| compared["right"].as_str().map(str::to_owned)).collect()
}

fn output(program: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("{program} can't be run"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
