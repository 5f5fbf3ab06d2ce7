//! Actors and supervisors that fall: killed at whatever await they are, panicking in a handler, or stuck in one until they are ended.
//! Supervisors are killed only: `Node::kill_actor` ends their children in an order that repeats, which their panic would not.
//!
//! Owns who falls and how. That they come back, and that nothing is lost by it, is what the rest of a run looks at.

use crate::{chance::Chance, node::SimNode};
use actors::{Node, TreeQuery};

/// The page of the tree from which one is chosen: root, supervisors, then the rest; a node here has fewer.
const ACTORS_MOST: usize = 200;

/// Lets one fall, if there is one. Answers whether.
pub fn one(chance: &mut Chance, node: &SimNode) -> bool {
    let Some(up) = node.node() else { return false };
    let all = TreeQuery { all: true, kind: None, limit: ACTORS_MOST, after: None };
    let actors = up.tree(&all).actors;
    // A supervisor takes all of its children with it, and only so many falls of one are borne: less often.
    let supervisors = chance.hits(250);
    let names: Vec<&str> = actors
        .iter()
        .filter(|actor| actor.parent.as_deref().is_some_and(|parent| (parent == "node") == supervisors))
        .map(|actor| actor.name.as_str())
        .collect();
    let Some(name) = chance.one_of(&names) else { return false };
    let how = chance.draw() % 10;
    let fell = match how {
        0..5 => up.kill_actor(name).then_some("is killed"),
        5..8 => panics(up, name).then_some("panics"),
        _ => hangs(up, name).then_some("hangs"),
    };
    // Those that can't be told to panic or hang are killed.
    let fell = fell.or_else(|| up.kill_actor(name).then_some("is killed"));
    if let Some(how) = fell {
        node.machine.tell(format_args!("the actor {name} {how}"));
    }
    fell.is_some()
}

fn panics(node: &Node, name: &str) -> bool {
    match name.parse() {
        Ok(vm) => node.crash_vm_actor(vm).is_ok(),
        Err(_) => match name.parse() {
            Ok(image) => {
                node.crash_image_actor(image);
                true
            }
            Err(_) => false,
        },
    }
}

fn hangs(node: &Node, name: &str) -> bool {
    match name.parse() {
        Ok(vm) => node.hang_vm_actor(vm).is_ok(),
        Err(_) => false,
    }
}
