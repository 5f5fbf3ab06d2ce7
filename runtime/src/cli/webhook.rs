//! `hearth webhook …`.

mod view;

use super::change::{self, Verb};
use super::context::Context;
use super::error::{CliError, FAILED};
use super::filter::{ListArgs, parse_label, parse_label_change};
use super::image::merged;
use super::output;
use crate::deliver::{new_secret, show_secret};
use api::client::Options;
use api::v1::{CreateWebhook, EventKind, Labels, PatchWebhook, PatchWebhookSpec, Redeliver, WebhookFilter, WebhookSpec};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// List webhooks, and how far each is
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show webhooks in full
    #[command(visible_alias = "show")]
    Get {
        /// Names or ids
        #[arg(required = true, value_name = "WEBHOOK")]
        webhooks: Vec<String>,
    },
    /// Have events sent to an address; prints the secret that they are signed with, this once
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// Change where it goes, what it sends, or whether it does
    Update(UpdateArgs),
    /// Delete webhooks and their dead letters
    #[command(visible_aliases = ["delete", "remove"])]
    Rm {
        /// Names or ids
        #[arg(required = true, value_name = "WEBHOOK")]
        webhooks: Vec<String>,
    },
    /// Show the deliveries that failed for good
    DeadLetters {
        /// Name or id
        webhook: String,
    },
    /// Send dead letters again, each once
    Redeliver {
        /// Name or id
        webhook: String,
        /// Their numbers; none: all
        deliveries: Vec<u64>,
    },
    /// Send the receiver a test, and tell how it ended
    Test {
        /// Name or id
        webhook: String,
    },
}

const CREATE_EXAMPLES: &str = "\
Examples:
  hearth webhook create ci --to https://ci.example.test/hooks/hearth --kind vm
  hearth webhook create audit --to http://127.0.0.1:9000/ --after 0
  hearth webhook create ends --to http://127.0.0.1:9000/ --type vm-stopped --type vm-failed";

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name
    name: String,
    /// Where to; https unless the way there is private
    #[arg(long, value_name = "URL")]
    to: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Begin behind this cursor; 0 is the oldest kept; not given: from now on
    #[arg(long, value_name = "CURSOR")]
    after: Option<u64>,
    /// Sign with this secret (whsec_ and base64) instead of a new one; read from the environment other users do not see it
    #[arg(long, env = "HEARTH_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    #[command(flatten)]
    times: TimeArgs,
    /// Make it, but send nothing yet
    #[arg(long)]
    disabled: bool,
    /// A label; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Print the id only; the secret is then not shown
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct FilterArgs {
    /// Only events of this kind; may be repeated
    #[arg(long = "kind", value_enum)]
    kinds: Vec<Kind>,
    /// Only events of this type, such as vm-started; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only about the resource with this id; may be repeated
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Args)]
struct TimeArgs {
    /// Seconds that one attempt may take [default: 10]
    #[arg(long, value_name = "SECONDS")]
    attempt_timeout: Option<u32>,
    /// Seconds that a delivery is tried before it becomes a dead letter [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    retry_for: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Vm,
    Host,
    Image,
    Operation,
    Webhook,
}

impl FilterArgs {
    fn filter(&self) -> WebhookFilter {
        let kind = |kind: &Kind| match kind {
            Kind::Vm => EventKind::Vm,
            Kind::Host => EventKind::Host,
            Kind::Image => EventKind::Image,
            Kind::Operation => EventKind::Operation,
            Kind::Webhook => EventKind::Webhook,
        };
        WebhookFilter {
            kinds: self.kinds.iter().map(kind).collect(),
            types: self.types.clone(),
            ids: self.ids.clone(),
            project: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.types.is_empty() && self.ids.is_empty()
    }
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Name or id
    webhook: String,
    /// A new name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Another address
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// What is given here replaces the whole filter
    #[command(flatten)]
    filter: FilterArgs,
    /// All events from now on
    #[arg(long, conflicts_with_all = ["kinds", "types", "ids"])]
    all_events: bool,
    #[command(flatten)]
    times: TimeArgs,
    /// Send again, from where it was
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Send nothing; where it was is kept
    #[arg(long)]
    disable: bool,
    /// Sign with this secret from now on
    #[arg(long, env = "HEARTH_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Sign with a new secret from now on, and print it, this once
    #[arg(long, conflicts_with = "secret")]
    new_secret: bool,
    /// Set a label, or take it away with KEY-; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label_change)]
    labels: Vec<(String, Option<String>)>,
}

pub async fn run(context: &Context, command: WebhookCommand) -> Result<(), CliError> {
    let webhooks = context.client.webhooks();
    match command {
        WebhookCommand::Ls(args) => {
            let items = args.read(context, webhooks.list(args.query())).await?;
            view::list(context, &args, &items)
        }
        WebhookCommand::Get { webhooks: names } => {
            let mut found = Vec::new();
            for name in &names {
                found.push(webhooks.get(name).await.map_err(|error| context.explain(error, (names.len() > 1).then_some(name)))?);
            }
            view::show(context, &found)
        }
        WebhookCommand::Create(args) => create(context, args).await,
        WebhookCommand::Update(args) => update(context, args).await,
        WebhookCommand::Rm { webhooks: names } => {
            change::each(context, &names, Verb::REMOVE, false, |name| async move {
                context.client.webhooks().delete(&name, &Options::default()).await
            })
            .await
        }
        WebhookCommand::DeadLetters { webhook } => {
            let letters = webhooks.dead_letters(&webhook).await.map_err(|error| context.explain(error, None))?;
            view::letters(context, &letters)
        }
        WebhookCommand::Redeliver { webhook, deliveries } => {
            let which = &Redeliver { deliveries };
            change::each(context, &[webhook], Verb::new("redeliver", "sends its dead letters again"), false, |name| async move {
                context.client.webhooks().redeliver(&name, which, &Options::default()).await
            })
            .await
        }
        WebhookCommand::Test { webhook } => test(context, &webhook).await,
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<(), CliError> {
    let mut spec = WebhookSpec::to(&args.to);
    spec.filter = args.filter.filter();
    spec.enabled = !args.disabled;
    spec.timeout_s = args.times.attempt_timeout.unwrap_or(spec.timeout_s);
    spec.retry_for_s = args.times.retry_for.unwrap_or(spec.retry_for_s);
    let create = CreateWebhook {
        name: args.name,
        project: None,
        labels: args.labels.into_iter().collect::<Labels>(),
        spec,
        secret: args.secret,
        after: args.after,
    };
    let made = context.client.webhooks().create(&create, &Options::default()).await;
    let made = made.map_err(|error| context.explain(error, None))?.resource;
    let Some(made) = made else { return Ok(()) };
    if args.quiet {
        return output::line(&made.id);
    }
    if context.json() {
        return output::json(&made);
    }
    output::line(&format!("webhook {} created", made.name))?;
    match &made.secret {
        Some(secret) => output::line(&format!("its secret, shown this once: {secret}")),
        None => Ok(()),
    }
}

impl UpdateArgs {
    fn spec(&self) -> PatchWebhookSpec {
        let refiltered = self.all_events || !self.filter.is_empty();
        PatchWebhookSpec {
            url: self.to.clone(),
            filter: refiltered.then(|| self.filter.filter()),
            enabled: if self.enable { Some(true) } else { self.disable.then_some(false) },
            timeout_s: self.times.attempt_timeout,
            retry_for_s: self.times.retry_for,
        }
    }
}

async fn update(context: &Context, args: UpdateArgs) -> Result<(), CliError> {
    let spec = Some(args.spec()).filter(|spec| *spec != PatchWebhookSpec::default());
    let made = args.new_secret.then(|| show_secret(&new_secret()));
    let secret = args.secret.as_ref().or(made.as_ref());
    if spec.is_none() && args.rename.is_none() && secret.is_none() && args.labels.is_empty() {
        return Err(CliError::Usage { detail: "nothing to change".to_owned(), hint: "see `hearth webhook update --help`" });
    }
    let (args, spec) = (&args, &spec);
    change::each(context, std::slice::from_ref(&args.webhook), Verb::new("update", "updated"), false, |name| async move {
        let webhooks = context.client.webhooks();
        let mut options = Options::default();
        let mut labels = None;
        if !args.labels.is_empty() {
            let webhook = webhooks.get(&name).await?;
            options.if_match = Some(webhook.generation);
            labels = Some(merged(webhook.labels, &args.labels));
        }
        let patch = PatchWebhook { name: args.rename.clone(), labels, spec: spec.clone(), secret: secret.cloned() };
        webhooks.patch(&name, &patch, &options).await
    })
    .await?;
    match made {
        // Beside the answer: in JSON that is the webhook.
        Some(secret) if context.json() => {
            output::note(&format!("its new secret, shown this once: {secret}"));
            Ok(())
        }
        Some(secret) => output::line(&format!("its new secret, shown this once: {secret}")),
        None => Ok(()),
    }
}

async fn test(context: &Context, webhook: &str) -> Result<(), CliError> {
    let tested = context.client.webhooks().test(webhook, &Options::default()).await;
    let Some(test) = tested.map_err(|error| context.explain(error, None))?.resource else { return Ok(()) };
    if context.json() {
        output::json(&test)?;
    } else if test.ok {
        output::line(&format!("the receiver answered {} in {} ms", test.status.unwrap_or_default(), test.took_ms))?;
    } else {
        output::note(&test.detail.unwrap_or_default());
    }
    if test.ok { Ok(()) } else { Err(CliError::Told(FAILED)) }
}
