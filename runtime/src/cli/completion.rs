//! `hearth completion`: the script that lets a shell complete our commands. Needs no server.

use super::error::CliError;
use super::output;
use clap::Args;
use clap_complete::Shell;

pub const EXAMPLES: &str = "\
Examples:
  hearth completion bash > /etc/bash_completion.d/hearth
  hearth completion zsh  > \"${fpath[1]}/_hearth\"
  hearth completion fish > ~/.config/fish/completions/hearth.fish";

#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

pub fn run(args: &CompletionArgs, command: &mut clap::Command) -> Result<(), CliError> {
    let shell = match args.shell.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        _ => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "hearth", &mut script);
    output::bytes(&script)
}
