//! The nftables table of one bridge. Owns the rules; [`nft`] hands them to the kernel.
//!
//! The table is `inet hearth_<bridge>`; it is replaced as a whole, in one transaction, and no other table is touched. What it says:
//! - **out**: what guests send to elsewhere leaves with the host's address (masquerade); answers come back; nobody outside opens a
//!   connection to a guest. The link-local network is shut, because clouds hand out the host's own credentials on 169.254.169.254.
//! - **host**: guests may ping the gateway and ask it for names (port 53, where a resolver listens there); everything else on the host
//!   is closed to them, on whichever of its addresses. Answers to connections that the host opened pass.
//! - **guests** do not reach one another. The ports' isolation does that; the rule is for machines on which bridged frames pass
//!   through here as well (`net.bridge.bridge-nf-call-iptables` is 1). Nothing here depends on that switch, so it is left alone.
//! - **spoofing**: a source address outside the subnet is dropped, and IPv6, of which the network has none. Which address within the
//!   subnet is whose is settled at the bridge, see [`super::Network::bind`].
//!
//! A verdict `accept` ends only our chain: another table that drops forwarded packets (Docker's does) still wins.

mod nft;

use super::{NetError, NetworkPlan, clash::Net};
use nftables::{
    batch::Batch,
    expr::{CT, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix},
    schema::{Chain, NfListObject, Nftables, Rule, Table},
    stmt::{Match, Operator, Statement},
    types::{NfChainPolicy, NfChainType, NfFamily, NfHook},
};
use std::{borrow::Cow, net::Ipv4Addr};

/// The rules of one chain, each a list of statements.
type Rules = Vec<Vec<Statement<'static>>>;

/// Where base chains stand; the kernel's own names for these numbers are `raw`, `filter` and `srcnat`.
const PRIORITY_RAW: i32 = -300;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SRCNAT: i32 = 100;

pub(super) fn table_name(bridge: &str) -> String {
    format!("hearth_{bridge}")
}

/// Replaces the table by what it should be.
pub(super) async fn apply(plan: &NetworkPlan) -> Result<(), NetError> {
    nft::run(&wanted(plan)).await
}

/// Removes the table; absent is no error.
pub(super) async fn remove(bridge: &str) -> Result<(), NetError> {
    let mut batch = Batch::new();
    clear(&mut batch, &table_name(bridge));
    nft::run(&batch.to_nftables()).await
}

/// Deleting what is not there is an error, adding what is there is none: so it is added first. All in one transaction.
fn clear(batch: &mut Batch<'static>, name: &str) {
    batch.add(table(name));
    batch.delete(table(name));
}

fn table(name: &str) -> NfListObject<'static> {
    NfListObject::Table(Table { family: NfFamily::INet, name: name.to_owned().into(), handle: None })
}

fn wanted(plan: &NetworkPlan) -> Nftables<'static> {
    let name = table_name(&plan.bridge);
    let mut batch = Batch::new();
    clear(&mut batch, &name);
    batch.add(table(&name));
    // No chain may be called `fwd`: that is a word of the language, and `nft` refuses its own listing.
    let chains: [(&str, NfChainType, NfHook, i32, Rules); 4] = [
        ("spoofing", NfChainType::Filter, NfHook::Prerouting, PRIORITY_RAW, spoofing(plan)),
        ("to_host", NfChainType::Filter, NfHook::Input, PRIORITY_FILTER, to_host(plan)),
        ("forwarding", NfChainType::Filter, NfHook::Forward, PRIORITY_FILTER, forwarding(plan)),
        ("leaving", NfChainType::NAT, NfHook::Postrouting, PRIORITY_SRCNAT, leaving(plan)),
    ];
    for (chain, kind, hook, priority, rules) in chains {
        batch.add(NfListObject::Chain(Chain {
            family: NfFamily::INet,
            table: name.clone().into(),
            name: chain.into(),
            _type: Some(kind),
            hook: Some(hook),
            prio: Some(priority),
            // Accept: what does not concern our bridge is no business of ours.
            policy: Some(NfChainPolicy::Accept),
            ..Chain::default()
        }));
        for expr in rules {
            batch.add(NfListObject::Rule(Rule {
                family: NfFamily::INet,
                table: name.clone().into(),
                chain: chain.into(),
                expr: expr.into(),
                ..Rule::default()
            }));
        }
    }
    batch.to_nftables()
}

fn spoofing(plan: &NetworkPlan) -> Rules {
    vec![vec![from(plan), is_not(field("ip", "saddr"), subnet(plan)), drop()]]
}

fn to_host(plan: &NetworkPlan) -> Rules {
    let to_gateway = || is(field("ip", "daddr"), text(plan.gateway));
    vec![
        vec![from(plan), answers(), accept()],
        vec![from(plan), to_gateway(), is(field("icmp", "type"), text("echo-request")), accept()],
        vec![from(plan), to_gateway(), is(field("udp", "dport"), Expression::Number(53)), accept()],
        vec![from(plan), to_gateway(), is(field("tcp", "dport"), Expression::Number(53)), accept()],
        vec![from(plan), drop()],
    ]
}

fn forwarding(plan: &NetworkPlan) -> Rules {
    let link_local = prefix(Ipv4Addr::new(169, 254, 0, 0), 16);
    vec![
        vec![from(plan), towards(plan), drop()],
        vec![from(plan), is(field("ip", "daddr"), link_local), drop()],
        vec![from(plan), is(field("ip", "saddr"), subnet(plan)), accept()],
        vec![from(plan), drop()],
        vec![towards(plan), answers(), accept()],
        vec![towards(plan), drop()],
    ]
}

fn leaving(plan: &NetworkPlan) -> Rules {
    let elsewhere = is_not(meta(MetaKey::Oifname), text(&plan.bridge));
    vec![vec![is(field("ip", "saddr"), subnet(plan)), elsewhere, Statement::Masquerade(None)]]
}

fn from(plan: &NetworkPlan) -> Statement<'static> {
    is(meta(MetaKey::Iifname), text(&plan.bridge))
}

fn towards(plan: &NetworkPlan) -> Statement<'static> {
    is(meta(MetaKey::Oifname), text(&plan.bridge))
}

fn answers() -> Statement<'static> {
    let state = Expression::Named(NamedExpression::CT(CT { key: "state".into(), family: None, dir: None }));
    let known = Expression::List(vec![text("established"), text("related")]);
    Statement::Match(Match { left: state, right: known, op: Operator::IN })
}

fn accept() -> Statement<'static> {
    Statement::Accept(None)
}

fn drop() -> Statement<'static> {
    Statement::Drop(None)
}

fn is(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::EQ })
}

fn is_not(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::NEQ })
}

fn meta(key: MetaKey) -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

fn field(protocol: &'static str, field: &'static str) -> Expression<'static> {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

fn text(value: impl ToString) -> Expression<'static> {
    Expression::String(Cow::Owned(value.to_string()))
}

fn prefix(address: Ipv4Addr, len: u32) -> Expression<'static> {
    Expression::Named(NamedExpression::Prefix(Prefix { addr: Box::new(text(address)), len }))
}

fn subnet(plan: &NetworkPlan) -> Expression<'static> {
    let net = Net { address: plan.gateway, prefix: plan.prefix };
    prefix(net.network(), u32::from(plan.prefix))
}
