//! Network devices and rules: a TAP for each interface of a VM that runs and for no other, one bridge, one table with the rules that every
//! hearth's table has and no more.

use crate::{Finding, Kind, Seen, Target};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// Rules in each chain of a hearth's table, whatever VMs there are: none of them is of a single VM.
const RULES: [(&str, usize); 4] = [("spoofing", 1), ("to_host", 5), ("forwarding", 6), ("leaving", 1)];
/// What else a table can hold, and hearth's does not.
const OTHERS: [&str; 7] = ["set", "map", "element", "flowtable", "counter", "quota", "limit"];

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
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for link in links {
        let name = link["ifname"].as_str().unwrap_or_default();
        let alias = link["ifalias"].as_str().unwrap_or_default();
        let on_bridge = target.bridge.as_deref().is_some_and(|bridge| link["master"] == bridge);
        // What a TAP is bound to stands behind the VM.
        let whose =
            alias.strip_prefix(&format!("hearth:{owner}:")).map(|told| told.split_once(' ').map_or(told, |(whose, _)| whose));
        match whose {
            Some("bridge") if target.bridge.as_deref() == Some(name) => {}
            Some(vm) if seen.vms.get(vm).is_some_and(|vm| vm.pid.is_some()) => {
                let count = found.entry(vm.to_owned()).or_default();
                *count += 1;
                if seen.vms.get(vm).is_some_and(|vm| *count > vm.interfaces) {
                    findings.push(Finding::new(Kind::OrphanDevice, format!("{name} of {vm} is one more than it has")));
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
    if let Some(bridge) = &target.bridge {
        if !links.iter().any(|link| link["ifname"] == **bridge) {
            findings.push(Finding::new(Kind::LostDevice, format!("there is no bridge {bridge}")));
        }
        for (id, vm) in seen.vms.iter().filter(|(_, vm)| vm.pid.is_some() && !vm.simulated) {
            let there = found.get(id).copied().unwrap_or_default();
            if there < vm.interfaces {
                let told = format!("{id} ({}) runs with {there} interfaces of {}", vm.name, vm.interfaces);
                findings.push(Finding::new(Kind::LostDevice, told));
            }
        }
    }
    Ok(findings)
}

fn links() -> Result<Vec<Value>> {
    Ok(serde_json::from_slice(&output("ip", &["-j", "-d", "link"])?)?)
}

/// The bridge's table is there and has its rules, and no table of hearth's belongs to a bridge that is not.
fn rules(bridge: &str, links: &[Value]) -> Result<Vec<Finding>> {
    let listed: Value = serde_json::from_slice(&output("nft", &["-j", "list", "ruleset"])?)?;
    let entries = listed["nftables"].as_array().cloned().unwrap_or_default();
    let devices: BTreeSet<&str> = links.iter().filter_map(|link| link["ifname"].as_str()).collect();
    let own = format!("hearth_{bridge}");
    let mut findings = Vec::new();
    let tables: Vec<String> = entries.iter().filter_map(|entry| entry["table"]["name"].as_str()).map(str::to_owned).collect();
    if !tables.contains(&own) {
        findings.push(Finding::new(Kind::LostRule, format!("there is no table {own}")));
        return Ok(findings);
    }
    for table in tables.iter().filter(|table| **table != own) {
        if let Some(of) = table.strip_prefix("hearth_")
            && !devices.contains(of)
        {
            findings.push(Finding::new(Kind::OrphanRule, format!("the table {table}, whose bridge is not there")));
        }
    }
    let ours = |kind: &'static str| entries.iter().filter_map(move |entry| entry.get(kind)).filter(|one| one["table"] == *own);
    let mut count: BTreeMap<String, usize> =
        ours("chain").map(|chain| (chain["name"].as_str().unwrap_or_default().to_owned(), 0)).collect();
    for rule in ours("rule") {
        *count.entry(rule["chain"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    for (chain, wanted) in RULES {
        let there = count.remove(chain).unwrap_or_default();
        let told = format!("{own} {chain} has {there} rules, not {wanted}");
        match there.cmp(&wanted) {
            std::cmp::Ordering::Less => findings.push(Finding::new(Kind::LostRule, told)),
            std::cmp::Ordering::Greater => findings.push(Finding::new(Kind::OrphanRule, told)),
            std::cmp::Ordering::Equal => {}
        }
    }
    findings.extend(count.keys().map(|chain| Finding::new(Kind::OrphanRule, format!("{own} has the chain {chain}"))));
    for kind in OTHERS {
        let found = ours(kind).map(|one| Finding::new(Kind::OrphanRule, format!("{own} has the {kind} {}", one["name"])));
        findings.extend(found);
    }
    Ok(findings)
}

fn output(program: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("{program} can't be run"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
