//! `hearth image …`.

use super::change::{self, Verb};
use super::context::Context;
use super::error::CliError;
use super::filter::{ListArgs, parse_label, parse_label_change};
use super::style::of_state;
use super::table::{Cell, Table};
use super::{output, units};
use api::client::Options;
use api::v1::{CreateImage, Image, ImageKind, ImageSpec, Labels, PatchImage};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List images
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show images in full
    #[command(visible_alias = "show")]
    Get {
        /// Names or ids
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Import an image from a file on the server's machine
    #[command(visible_alias = "import", after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// Change an image's name, labels or description
    Update(UpdateArgs),
    /// Delete images
    #[command(visible_aliases = ["delete", "remove"])]
    Rm {
        /// Names or ids
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
}

const CREATE_EXAMPLES: &str = "\
Examples:
  hearth image create busybox --kind rootfs --path ./busybox.ext4
  hearth image create linux --kind kernel --path ./vmlinux --initrd ./initrd --default";

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name
    name: String,
    /// What it is
    #[arg(long, value_enum)]
    kind: Kind,
    /// The file, on the server's machine; a relative path is taken from here
    #[arg(long, value_name = "FILE")]
    path: PathBuf,
    /// Of a kernel: an initramfs with its modules
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Of a kernel: VMs that name none boot from it
    #[arg(long)]
    default: bool,
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A label; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Print the id only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Kernel,
    Rootfs,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Name or id
    image: String,
    /// A new name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Set a label, or take it away with KEY-; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label_change)]
    labels: Vec<(String, Option<String>)>,
    /// VMs that name no kernel boot from it
    #[arg(long, conflicts_with = "no_default")]
    default: bool,
    #[arg(long)]
    no_default: bool,
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub async fn run(context: &Context, command: ImageCommand) -> Result<(), CliError> {
    let images = context.client.images();
    match command {
        ImageCommand::Ls(args) => {
            let items = args.read(context, images.list(args.query())).await?;
            list(context, &args, &items)
        }
        ImageCommand::Get { images: names } => {
            let mut found = Vec::new();
            for name in &names {
                found.push(images.get(name).await.map_err(|error| context.explain(error, (names.len() > 1).then_some(name)))?);
            }
            show(context, &found)
        }
        ImageCommand::Create(args) => create(context, args).await,
        ImageCommand::Update(args) => update(context, args).await,
        ImageCommand::Rm { images: names } => {
            change::each(context, &names, Verb::REMOVE, false, |name| async move {
                context.client.images().delete(&name, &Options::default()).await
            })
            .await
        }
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<(), CliError> {
    let spec = ImageSpec {
        kind: match args.kind {
            Kind::Kernel => ImageKind::Kernel,
            Kind::Rootfs => ImageKind::Rootfs,
        },
        path: absolute(&args.path)?,
        initrd: args.initrd.as_ref().map(absolute).transpose()?,
        default: args.default,
        description: args.description,
    };
    let create =
        CreateImage { name: args.name.clone(), project: None, labels: args.labels.into_iter().collect::<Labels>(), spec };
    let create = &create;
    change::each(context, std::slice::from_ref(&args.name), Verb::new("import", "imported"), args.quiet, |_name| async move {
        context.client.images().create(create, &Options::default()).await
    })
    .await
}

fn absolute(path: &PathBuf) -> Result<String, CliError> {
    let absolute =
        std::path::absolute(path).map_err(|source| CliError::Io { what: "cannot find the current directory", source })?;
    absolute.into_os_string().into_string().map_err(|_not_text| CliError::Usage {
        detail: format!("{} is not text", path.display()),
        hint: "the API carries paths as UTF-8; rename the file",
    })
}

impl UpdateArgs {
    fn changes_something(&self) -> bool {
        let texts = self.rename.is_some() || self.description.is_some();
        texts || !self.labels.is_empty() || self.default || self.no_default
    }
}

async fn update(context: &Context, args: UpdateArgs) -> Result<(), CliError> {
    if !args.changes_something() {
        return Err(CliError::Usage { detail: "nothing to change".to_owned(), hint: "see `hearth image update --help`" });
    }
    let args = &args;
    change::each(context, std::slice::from_ref(&args.image), Verb::new("update", "updated"), false, |name| async move {
        let images = context.client.images();
        let mut options = Options::default();
        let mut labels = None;
        if !args.labels.is_empty() {
            let image = images.get(&name).await?;
            options.if_match = Some(image.generation);
            labels = Some(merged(image.labels, &args.labels));
        }
        let default = if args.default { Some(true) } else { args.no_default.then_some(false) };
        let patch = PatchImage { name: args.rename.clone(), labels, default, description: args.description.clone() };
        images.patch(&name, &patch, &options).await
    })
    .await
}

/// The labels after the changes.
pub fn merged(mut labels: Labels, changes: &[(String, Option<String>)]) -> Labels {
    for (key, value) in changes {
        match value {
            Some(value) => labels.insert(key.clone(), value.clone()),
            None => labels.remove(key),
        };
    }
    labels
}

fn list(context: &Context, args: &ListArgs, images: &[Image]) -> Result<(), CliError> {
    if args.quiet {
        return images.iter().try_for_each(|image| output::line(&image.id));
    }
    if context.json() {
        return output::json(&images);
    }
    let now = jiff::Timestamp::now();
    let mut table = Table::new(&["NAME", "KIND", "STATE", "SIZE", "USED BY", "AGE"]);
    for image in images {
        let state = image.status.state.as_str();
        let kind = if image.spec.default {
            format!("{} (default)", image.spec.kind.as_str())
        } else {
            image.spec.kind.as_str().to_owned()
        };
        table.row(vec![
            image.name.as_str().into(),
            kind.into(),
            Cell::coloured(state, of_state(state)),
            units::bytes(image.status.size_bytes).into(),
            image.status.used_by_count.to_string().into(),
            units::age(image.created_at, now).into(),
        ]);
    }
    output::table(&table)
}

fn show(context: &Context, images: &[Image]) -> Result<(), CliError> {
    if context.json() {
        return if let [image] = images { output::json(image) } else { output::json(&images) };
    }
    for (index, image) in images.iter().enumerate() {
        let mut facts = super::facts::Facts::new();
        facts.add("name", &image.name);
        facts.add("id", &image.id);
        facts.add("kind", image.spec.kind.as_str());
        facts.state(image.status.state.as_str(), image.status.reason.as_ref());
        facts.add("size", &units::bytes(image.status.size_bytes));
        facts.maybe("digest", image.status.digest.as_deref());
        facts.add("path", &image.spec.path);
        facts.maybe("initrd", image.spec.initrd.as_deref());
        facts.maybe("description", image.spec.description.as_deref());
        facts.add("used by", &image.status.used_by_count.to_string());
        facts.labels(&image.labels);
        facts.maybe("operation", image.status.operation.as_deref());
        facts.add("created", &image.created_at.to_string());
        facts.print(index > 0)?;
    }
    Ok(())
}
