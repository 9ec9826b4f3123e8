//! The server's options as flags: one for each row of its table, so that help, file and environment never differ.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use server::{Config, Loaded, Mode, Sources, config::SETTINGS, config::Setting};

use crate::fault::Fault;

/// Every option of the server, and the file the others come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    file: Option<PathBuf>,
    flags: Vec<(String, String)>,
}

impl Settings {
    /// Reads file, environment and flags, in this order.
    pub(crate) fn load(&self, mode: Mode) -> Result<Loaded, Fault> {
        let sources = Sources::gather(self.file.as_deref(), self.flags.clone())?;
        Ok(Loaded::read(&sources, mode)?.with_folder()?)
    }
}

/// What the environment alone says, for commands that are no server.
pub(crate) fn of_environment() -> Result<Config, Fault> {
    let sources = Sources { environment: Sources::gather(None, Vec::new())?.environment, ..Sources::default() };
    Ok(Loaded::read(&sources, Mode::Serve)?.with_folder()?.config)
}

const FILE: &str = "config";

fn argument(setting: &'static Setting) -> Arg {
    // A few dozen short texts, once for each start: clap wants texts that live as long as the program.
    let long: &'static str = Box::leak(setting.flag().trim_start_matches("--").to_owned().into_boxed_str());
    let help = format!("{} Takes {}. [env: {}]", setting.doc, setting.takes, setting.environment());
    let argument =
        Arg::new(setting.key).long(long).help(help).help_heading("Server options").hide_short_help(!is_common(setting));
    if is_switch(setting) {
        argument.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        argument.value_name("VALUE")
    }
}

/// Named in `-h`; the rest waits for `--help`.
fn is_common(setting: &Setting) -> bool {
    matches!(
        setting.key,
        "listen" | "data" | "public_url" | "secret_file" | "insecure" | "trusted_proxies" | "durability"
    )
}

fn is_switch(setting: &Setting) -> bool {
    matches!(setting.key, "insecure" | "worker_pipelines")
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .env("RUSHES_CONFIG")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Read this file instead of rushes.toml in the working folder")
            .help_heading("Server options");
        // A secret on a command line can be read by everybody on the machine.
        command.arg(file).args(SETTINGS.iter().filter(|setting| !setting.secret).map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut settings = Self::default();
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>(FILE).cloned();
        let given = |setting: &'static Setting| {
            let value = matches.get_one::<String>(setting.key)?;
            Some((setting.key.to_owned(), value.clone()))
        };
        self.flags = SETTINGS.iter().filter(|setting| !setting.secret).filter_map(given).collect();
        Ok(())
    }
}
