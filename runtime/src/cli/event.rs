//! `hearth event`: what happened, and what happens now.
//!
//! The API has events as a stream only. The newest kept ones are read from the oldest on, until an event is younger than the question or the
//! stream has nothing more to give at once.

use super::context::Context;
use super::error::CliError;
use super::output;
use super::style::{Colour, harmless, paint, wants_colour};
use api::client::{EventItem, EventQuery};
use api::v1::Event;
use clap::{Args, Subcommand};
use std::collections::VecDeque;
use std::time::Duration;

/// A stream that replays kept events does not pause for so long while it has more.
const REPLAY_QUIET: Duration = Duration::from_millis(700);

const EXAMPLES: &str = "\
Examples:
  hearth event -f                  what happens from now on
  hearth event -n 50               the 50 newest
  hearth event -f --after 0        all that is kept, then what happens
  hearth event -f --kind vm -o json | jq .type";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct EventArgs {
    #[command(subcommand)]
    verb: Option<EventVerb>,
    #[command(flatten)]
    list: EventListArgs,
}

#[derive(Debug, Subcommand)]
enum EventVerb {
    /// The same as without a verb
    #[command(visible_alias = "list", after_help = EXAMPLES)]
    Ls(EventListArgs),
}

#[derive(Debug, Args)]
struct EventListArgs {
    /// Go on with what happens now, through broken connections
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, conflicts_with = "follow", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Begin behind this cursor; 0 is the oldest kept
    #[arg(long, value_name = "CURSOR")]
    after: Option<u64>,
    /// Only of this kind: vm, host, image, operation, webhook
    #[arg(long)]
    kind: Option<String>,
    /// Only about this resource
    #[arg(long)]
    id: Option<String>,
    /// Print ids of the resources only
    #[arg(short, long)]
    quiet: bool,
}

pub async fn run(context: &Context, args: EventArgs) -> Result<(), CliError> {
    let args = match args.verb {
        Some(EventVerb::Ls(args)) => args,
        None => args.list,
    };
    if args.follow { follow(context, &args).await } else { newest(context, &args).await }
}

async fn follow(context: &Context, args: &EventListArgs) -> Result<(), CliError> {
    let query = EventQuery { after: args.after, kind: args.kind.clone(), id: args.id.clone(), project: None, reconnect: true };
    let mut events = context.client.events(query).await.map_err(|error| context.explain(error, None))?;
    let colour = wants_colour(std::io::stdout());
    while let Some(item) = events.next().await.map_err(|error| context.explain(error, None))? {
        match item {
            EventItem::Event(event) => print(context, args, &event, colour)?,
            EventItem::Lost { reason } => output::note(&format!("connection lost ({reason}); trying to resume")),
            EventItem::Resumed { complete: true } => output::note("resumed; nothing was missed"),
            EventItem::Resumed { complete: false } => {
                output::note("connected again; what happened meanwhile is not shown (`hearth event` shows it)")
            }
        }
    }
    Ok(())
}

async fn newest(context: &Context, args: &EventListArgs) -> Result<(), CliError> {
    let asked_at = jiff::Timestamp::now();
    let query = EventQuery {
        after: Some(args.after.unwrap_or(0)),
        kind: args.kind.clone(),
        id: args.id.clone(),
        project: None,
        reconnect: false,
    };
    let mut events = context.client.events(query).await.map_err(|error| context.explain(error, None))?;
    let mut kept: VecDeque<Event> = VecDeque::new();
    loop {
        let item = match tokio::time::timeout(REPLAY_QUIET, events.next()).await {
            Err(_nothing_more) => break,
            Ok(item) => item.map_err(|error| context.explain(error, None))?,
        };
        match item {
            Some(EventItem::Event(event)) => {
                // `resync` only says that older ones are gone, which everybody knows who asks for the newest.
                if event.event == "resync" {
                    continue;
                }
                let younger = event.time > asked_at;
                if kept.len() == args.limit as usize {
                    kept.pop_front();
                }
                kept.push_back(*event);
                if younger {
                    break;
                }
            }
            Some(EventItem::Lost { .. } | EventItem::Resumed { .. }) => {}
            None => break,
        }
    }
    if context.json() {
        return output::json(&kept);
    }
    let colour = wants_colour(std::io::stdout());
    kept.iter().try_for_each(|event| print(context, args, event, colour))
}

fn print(context: &Context, args: &EventListArgs, event: &Event, colour: bool) -> Result<(), CliError> {
    if args.quiet {
        return output::line(&event.id);
    }
    if context.json() {
        return output::json_line(event);
    }
    output::text(&format!("{}\n", line(event, colour)))
}

fn line(event: &Event, colour: bool) -> String {
    let time = event.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let state =
        event.data.get("state").and_then(|state| state.as_str()).map_or(String::new(), |state| format!("  {}", harmless(state)));
    format!(
        "{}  {:<20} {}{state}  {}",
        paint(colour, Colour::Dim, &time),
        harmless(&event.event),
        harmless(if event.name.is_empty() { &event.id } else { &event.name }),
        paint(colour, Colour::Dim, &harmless(&event.actor)),
    )
}
