//! The command line: what it takes, and what it refuses.

use clap::{CommandFactory as _, error::ErrorKind};

use super::*;

fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"rushes").chain(line))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_documented_lines_are_taken() {
    for line in [
        &["demo"][..],
        &["demo", "--listen", "127.0.0.1:0", "--data", "/tmp/x", "--no-worker", "--open"],
        &["serve", "--listen", "127.0.0.1:8080", "--data", "d", "--log-level", "debug", "--insecure"],
        &["worker", "--server", "http://h:1", "--token", "t", "--pool", "gpu=2", "--pool", "cpu=1", "--name", "w"],
        &["generate", "a lake", "-o", "film.mp4", "--seconds", "2", "--width", "320", "--height", "180", "--fps", "12"],
        &["watch", "gen_a", "--after", "k3f9:12"],
        &["token", "--user", "u", "--role", "worker", "--ttl", "30d"],
        &["why", "gen_a", "--token", "t"],
        &["timeline", "gen_a", "--json"],
        &["health", "--url", "http://h:1"],
        &["dead", "list", "--pipeline", "video", "--cause", "out_of_memory"],
        &["dead", "groups", "--server", "http://h:1"],
        &["dead", "show", "gen_a"],
        &["dead", "redrive", "gen_a", "--set", "seconds=2", "--set", "seed=null", "--newest"],
        &["dead", "redrive", "--fingerprint", "00ff"],
        &["dead", "purge", "--all"],
        &["pause", "video"],
        &["resume", "video"],
        &["breaker", "list"],
        &["breaker", "open", "upscaling:gpu"],
        &["config", "check"],
        &["config", "print", "--demo"],
        &["config", "reference"],
        &["render", "a lake", "-o", "film.mp4"],
    ] {
        assert!(parse(line).is_ok(), "{line:?}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn a_wrong_line_is_refused_with_the_usage_exit_code() {
    for line in [
        &["worker", "--token", "t", "--pool", "gpu=0"][..],
        &["token", "--role", "king"],
        &["token", "--ttl", "1"],
        &["watch", "a/b"],
        &["watch", "gen_a", "--after", "soon"],
        &["generate"],
        &["dead", "list", "--cause", "bad luck"],
        &["dead", "redrive", "gen_a", "--set", "seconds"],
        &["breaker", "open", "upscaling"],
        &["serve", "--secret", "on-the-command-line"],
        &["serve", "--lisen", "x"],
    ] {
        let error = parse(line).expect_err("was taken");
        assert_eq!(error.exit_code(), 2, "{line:?}");
    }
}

#[test]
fn every_command_explains_itself() {
    for command in Cli::command().get_subcommands() {
        let help = parse(&[command.get_name(), "--help"]).unwrap_err();
        assert_eq!(help.kind(), ErrorKind::DisplayHelp);
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{} {} has no help", command.get_name(), argument.get_id());
        }
    }
}

#[test]
fn help_shows_no_token_of_the_environment() {
    for command in ["worker", "generate", "watch"] {
        let mut built = Cli::command();
        let command = built.find_subcommand_mut(command).unwrap();
        let token = command.get_arguments().find(|argument| argument.get_id() == "token").unwrap();
        assert!(token.is_hide_env_values_set());
    }
}
