//! Which events a subscriber wants.

use super::hub::Rendered;
use crate::http::{
    input::Fields,
    problem::{Answer, Refusal},
};

const KINDS: [&str; 5] = ["vm", "host", "image", "operation", "webhook"];
/// A page of the console follows some hundred resources at most.
const IDS_MAX: usize = 1000;

#[derive(Debug, Clone, Default)]
pub struct Filter {
    kinds: Vec<String>,
    ids: Vec<String>,
    project: Option<String>,
}

impl Filter {
    pub fn parse(fields: &mut Fields) -> Answer<Filter> {
        let kinds = fields.all("kind");
        if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(Refusal::field("bad-query", "kind", format!("{unknown} is none of: {}", KINDS.join(", "))));
        }
        let ids = fields.all("id");
        if ids.len() > IDS_MAX {
            return Err(Refusal::field("bad-query", "id", format!("no more than {IDS_MAX} ids")));
        }
        Ok(Filter { kinds, ids, project: fields.one("project")? })
    }

    /// One resource's.
    pub fn of(id: String) -> Filter {
        Filter { ids: vec![id], ..Filter::default() }
    }

    pub fn wants(&self, event: &Rendered) -> bool {
        // What is about the stream itself concerns everybody.
        event.kind == "stream"
            || (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind))
                && (self.ids.is_empty() || self.ids.contains(&event.id))
                && self.project.as_ref().is_none_or(|project| *project == event.project)
    }
}
