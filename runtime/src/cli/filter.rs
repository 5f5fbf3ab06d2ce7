//! The options of every `ls`, and reading the list that they ask for.

use super::context::Context;
use super::error::CliError;
use super::output;
use api::client::{ListQuery, Pages};
use clap::Args;
use serde::de::DeserializeOwned;

/// Items of one request: the server's largest page.
const PAGE: u32 = 1000;

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Only those with this label; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label_filter)]
    labels: Vec<String>,
    /// Only those in this state
    #[arg(long)]
    state: Option<String>,
    /// Only the one of this name
    #[arg(long)]
    name: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

impl ListArgs {
    pub fn query(&self) -> ListQuery {
        ListQuery {
            limit: Some(self.limit.min(PAGE)),
            labels: self.labels.clone(),
            state: self.state.clone(),
            name: self.name.clone(),
            ..ListQuery::default()
        }
    }

    /// The whole list up to the limit; says so when there is more.
    pub async fn read<T: DeserializeOwned>(&self, context: &Context, pages: Pages<T>) -> Result<Vec<T>, CliError> {
        let (items, more) = pages.collect(self.limit as usize).await.map_err(|error| context.explain(error, None))?;
        if more {
            output::note(&format!("there are more than these {}; --limit shows more", items.len()));
        }
        Ok(items)
    }
}

fn parse_label_filter(text: &str) -> Result<String, String> {
    parse_label(text).map(|_pair| text.to_owned())
}

/// `key=value`.
pub fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("give KEY=VALUE".to_owned()),
    }
}

/// `key=value` sets, `key-` takes away.
pub fn parse_label_change(text: &str) -> Result<(String, Option<String>), String> {
    if let Ok((key, value)) = parse_label(text) {
        return Ok((key, Some(value)));
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() => Ok((key.to_owned(), None)),
        _ => Err("give KEY=VALUE to set a label, KEY- to take it away".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_as_typed() {
        assert_eq!(parse_label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_label("a="), Ok(("a".into(), String::new())));
        assert!(parse_label("=b").is_err() && parse_label("a").is_err());
        assert_eq!(parse_label_change("a-"), Ok(("a".into(), None)));
        assert_eq!(parse_label_change("a=-"), Ok(("a".into(), Some("-".into()))));
        assert!(parse_label_change("-").is_err() && parse_label_change("a").is_err());
    }
}
