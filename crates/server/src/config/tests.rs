//! What an operator reads when something is wrong, and which layer wins.

use super::*;

fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Sources {
        file: (!file.is_empty()).then(|| (PathBuf::from("rushes.toml"), file.to_owned())),
        environment: own(environment),
        flags: own(flags),
    }
}

fn read(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    Loaded::read(&sources(file, environment, flags), Mode::Serve)
}

fn problems(file: &str) -> Vec<String> {
    read(file, &[], &[]).unwrap_err().problems
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "listen = \"127.0.0.1:1\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n";
    let environment = [("RUSHES_LISTEN", "127.0.0.1:2"), ("RUSHES_LOG_LEVEL", "debug")];
    let loaded = read(file, &environment, &[("listen", "127.0.0.1:3")]).unwrap();
    assert_eq!(loaded.config.listen.port(), 3);
    assert_eq!(loaded.config.log.level, "debug");
    assert_eq!(loaded.config.log.format, LogFormat::Json);
    assert_eq!(loaded.sources["listen"], Source::Flag("--listen".to_owned()));
    assert_eq!(loaded.sources["log.level"], Source::Environment("RUSHES_LOG_LEVEL".to_owned()));
    assert_eq!(loaded.sources["log.format"], Source::File("rushes.toml".into(), 4));
}

#[test]
fn the_first_dialects_variables_count() {
    let loaded = read("", &[("WS_PORT", "9000"), ("JWT_SECRET", "s3cret")], &[]).unwrap();
    assert_eq!(loaded.config.listen.to_string(), "127.0.0.1:9000");
    assert!(loaded.config.read_secret().unwrap().is_some());
    let loaded = read("listen = \"0.0.0.0:1\"", &[("WS_PORT", "9000")], &[]).unwrap();
    assert_eq!(loaded.config.listen.to_string(), "0.0.0.0:9000");
    let both = read("", &[("WS_PORT", "9000"), ("RUSHES_LISTEN", "127.0.0.1:9001")], &[]).unwrap();
    assert_eq!(both.config.listen.port(), 9001);
}

#[test]
fn every_mistake_is_named_with_its_line_and_what_to_write() {
    let file = "lisen = \"x\"\nlisten = \"nowhere\"\n\n[retention]\nevents = \"3 weeks\"\nevent = 1\n\n[lease]\nsilence = \"1s\"\n\
                [limits]\nunfinished_per_owner = 0\nartifact_bytes = 1979-05-27\n[colour]\nred = 1\n";
    assert_eq!(
        problems(file),
        [
            "rushes.toml:1: unknown key `lisen`; did you mean `listen`?",
            "rushes.toml:2: listen = \"nowhere\": write an address and a port such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080",
            "rushes.toml:5: retention.events = \"3 weeks\": write a number and a unit such as 500ms, 30s, 10m, 12h or 30d, or off",
            "rushes.toml:6: unknown key `retention.event`; did you mean `retention.events`?",
            "rushes.toml:9: lease.silence = \"1s\": from 5s to 10m",
            "rushes.toml:11: limits.unfinished_per_owner = \"0\": from 1 to 1000000",
            "rushes.toml:12: `limits.artifact_bytes` cannot be a datetime: from 1KiB to 4GiB",
            "rushes.toml:13: unknown key `colour`; `rushes config print` lists all keys",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let problems = problems("listen = \"127.0.0.1:1\"\ndata = \n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("rushes.toml:2: "), "{problems:?}");
}

#[test]
fn a_mistake_in_the_environment_or_a_flag_names_it() {
    let error =
        read("", &[("RUSHES_INSECURE", "yes"), ("RUSHES_LISTN", "x")], &[("datta", "x"), ("data", "")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment RUSHES_INSECURE: insecure = \"yes\": write true or false\n\
         environment RUSHES_LISTN: unknown key `listn`; did you mean `listen`?\n\
         flag datta: unknown key `datta`; did you mean `data`?\n\
         --data: data = \"\": write a path"
    );
}

#[test]
fn variables_of_the_command_line_and_of_kubernetes_are_none_of_ours() {
    let others = [
        ("RUSHES_TOKEN", "t"),
        ("RUSHES_SERVICE_HOST", "10.0.0.1"),
        ("RUSHES_PORT", "tcp://10.0.0.1:80"),
        ("RUSHES_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(read("", &others, &[]).unwrap().sources.is_empty());
}

#[test]
fn a_pipeline_is_read_with_its_durations() {
    let loaded = read(pipeline::EXAMPLE, &[], &[]).unwrap();
    let [pipeline] = loaded.config.pipelines.as_slice() else { panic!("{:?}", loaded.config.pipelines) };
    assert_eq!(pipeline.name.as_str(), "portrait");
    assert_eq!(pipeline.stages[1].timeout_ms, 1_800_000);
    assert_eq!(pipeline.stages[1].retries, 3);
    assert_eq!((pipeline.stages[1].backoff_ms, pipeline.stages[1].backoff_max_ms), (200, 60_000));
    assert_eq!(pipeline.stages[1].breaker_name().as_str(), "generating_frames:model-server");
    assert_eq!(pipeline.stages[1].bigger_pool.as_ref().unwrap().as_str(), "gpu-80gb");
    assert_eq!(pipeline.on_failed.as_ref().unwrap().timeout_ms, 60_000);
    assert_eq!((pipeline.timeout_ms, pipeline.queue_timeout_ms), (Some(7_200_000), Some(1_800_000)));
    assert_eq!(pipeline.stages[2].expected_ms, 8_000);
    assert_eq!(pipeline.input_schema, Some(serde_json::json!({"type": "object", "required": ["prompt"]})));
}

#[test]
fn a_mistake_in_a_pipeline_names_its_line() {
    let file = "[[pipeline]]\nname = \"a\"\nstages = [{ name = \"s\" }]\n\n[[pipeline]]\nname = \"b\"\nstages = [\n  { name = \"s\", colour = 1 },\n]\n\
                [[pipeline]]\nname = \"c\"\nstages = [{ name = \"s\", timeout = \"soon\" }]\n[[pipeline]]\nname = \"d\"\nstages = []\n\
                [[pipeline]]\nname = \"external\"\nstages = [{ name = \"s\" }]\n";
    let problems = problems(file);
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems[0].starts_with("rushes.toml:8: pipeline: unknown field `colour`"), "{problems:?}");
    assert!(problems[1].starts_with("rushes.toml:12: pipeline: write a number and a unit"), "{problems:?}");
    assert!(problems[2].starts_with("rushes.toml:13: pipeline d has no stages"), "{problems:?}");
    assert!(problems[3].starts_with("rushes.toml:16: pipeline `external` is built in"), "{problems:?}");
}

#[test]
fn definitions_that_contradict_each_other_or_themselves_name_their_lines() {
    let file = "[[pipeline]]\nname = \"a\"\nstages = [{ name = \"s\" }]\n[[pipeline]]\nname = \"a\"\nstages = [{ name = \"t\" }]\n\
                [[pipeline]]\nname = \"video\"\nstages = [{ name = \"s\" }]\n\
                [[pipeline]]\nname = \"b\"\nstages = [{ name = \"s\" }]\ninput_schema = { type = \"nonsense\" }\n\
                [[pipeline]]\nname = \"c\"\nstages = [{ name = \"s\", timeout = \"1s\", stall = \"2s\" }]\n";
    let problems = problems(file);
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(
        problems[0].starts_with("rushes.toml:4: pipeline a version 1 is defined by rushes.toml:1"),
        "{problems:#?}"
    );
    assert!(problems[1].starts_with("rushes.toml:7: pipeline video version 1 is defined by the program"));
    assert!(problems[2].starts_with("rushes.toml:10: inputSchema of pipeline b"), "{problems:#?}");
    assert!(problems[3].starts_with("rushes.toml:14: stage s: stall is longer than timeout"), "{problems:#?}");
}

#[test]
fn several_pipelines_and_versions_come_from_files_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.toml", "[[pipeline]]\nname = \"a\"\nstages = [{ name = \"s\" }]\n");
    write("b.toml", "[[pipeline]]\nname = \"a\"\nversion = 2\nstages = [{ name = \"s\", pool = \"cpu\" }]\n");
    write("notes.txt", "not a pipeline");
    let flags = [("pipelines", folder.path().to_str().unwrap())];
    let loaded = read("", &[], &flags).unwrap().with_folder().unwrap();
    let named: Vec<_> = loaded.config.pipelines.iter().map(|one| format!("{}@{}", one.name, one.version)).collect();
    assert_eq!(named, ["a@1", "a@2"]);
    write("c.toml", "listen = \"x\"\n[[pipeline]]\nname = \"a\"\nstages = [{ name = \"t\" }]\n");
    let problems = read("", &[], &flags).unwrap().with_folder().unwrap_err().problems;
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].contains("c.toml:1: `listen` stands in a file of pipelines"), "{problems:#?}");
    assert!(problems[1].contains("c.toml:2: pipeline a version 1 is defined by"), "{problems:#?}");
}

#[test]
fn tenants_have_weights_and_bounds() {
    let loaded = read(tenant::EXAMPLE, &[], &[]).unwrap();
    let [tenant] = loaded.config.tenants.as_slice() else { panic!("{:?}", loaded.config.tenants) };
    assert_eq!((tenant.weight, tenant.running, tenant.unfinished), (3, Some(8), Some(5_000)));
    let file = "[[tenant]]\nname = \"a\"\nweight = 0\n[[tenant]]\nname = \"b\"\nrunning = 0\n[[tenant]]\nname = \"c\"\nshare = 1\n\
                [[tenant]]\nname = \"d\"\n[[tenant]]\nname = \"d\"\n";
    let problems = problems(file);
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(problems[0].starts_with("rushes.toml:1: tenant a: weight 0 is not from 1 to 100"), "{problems:#?}");
    assert!(problems[1].starts_with("rushes.toml:4: tenant b: a bound of 0"), "{problems:#?}");
    assert!(problems[2].starts_with("rushes.toml:9: tenant: unknown field `share`"), "{problems:#?}");
    assert!(problems[3].starts_with("rushes.toml:12: tenant d stands twice"), "{problems:#?}");
}

#[test]
fn what_is_printed_reads_back_the_same_and_hides_the_secret() {
    let file = "secret = \"hunter2-hunter2\"\nallowed_origins = [\"https://a.example\", \"https://b.example\"]\n\
                trusted_proxies = [\"10.0.0.0/8\"]\npublic_url = \"https://films.example/\"\n[retention]\nartifacts = \"off\"\n";
    let loaded = read(file, &[("RUSHES_LOG_FORMAT", "json")], &[]).unwrap();
    let printed = loaded.print();
    assert!(!printed.contains("hunter2"), "{printed}");
    let line = |key: &str| {
        printed.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key}:\n{printed}"))
    };
    assert!(line("secret ").ends_with("# rushes.toml:1"), "{printed}");
    assert!(line("format ").ends_with("# environment RUSHES_LOG_FORMAT"), "{printed}");
    assert!(line("data ").ends_with("# default"), "{printed}");
    let again = read(&printed, &[], &[]).unwrap();
    let values =
        |config: &Config| SETTINGS.iter().map(|setting| (setting.key, (setting.show)(config))).collect::<Vec<_>>();
    assert_eq!(values(&again.config), values(&loaded.config));
}

#[test]
fn every_option_takes_its_own_default() {
    let defaults = Config::defaults(Mode::Serve);
    let values =
        |config: &Config| SETTINGS.iter().map(|setting| (setting.key, (setting.show)(config))).collect::<Vec<_>>();
    let printed = read("", &[], &[]).unwrap().print();
    assert_eq!(values(&read(&printed, &[], &[]).unwrap().config), values(&defaults));
    for setting in SETTINGS {
        assert!(
            setting.doc.ends_with('.') && !setting.takes.is_empty() && !setting.since.is_empty(),
            "{}",
            setting.key
        );
        assert!(reference_page().contains(&format!("### `{}`", setting.key)), "{}", setting.key);
    }
}

#[test]
fn a_server_does_not_start_without_a_secret_and_says_how_to_make_one() {
    let error = read("", &[], &[]).unwrap().config.check(Mode::Serve).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no secret: tokens could not be checked. Make one with `openssl rand -hex 32` and give it as JWT_SECRET, or in a file as `secret_file`"
    );
    assert!(read("", &[], &[]).unwrap().config.check(Mode::Demo).unwrap().is_empty());
    let weak = read("secret = \"short\"", &[], &[]).unwrap().config.check(Mode::Serve).unwrap();
    assert!(weak[0].to_string().contains("shorter than 32 bytes"), "{weak:?}");
}

#[test]
fn a_secret_comes_from_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let flags = [("secret_file", file.to_str().unwrap())];
    let missing = read("", &[], &flags).unwrap().config.check(Mode::Serve).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("secret_file {}: ", file.display())), "{missing}");
    std::fs::write(&file, "\n").unwrap();
    let empty = read("", &[], &flags).unwrap().config.check(Mode::Serve).unwrap_err().to_string();
    assert!(empty.ends_with("is empty"), "{empty}");
    std::fs::write(&file, format!("{}\n", "x".repeat(32))).unwrap();
    assert!(read("", &[], &flags).unwrap().config.check(Mode::Serve).unwrap().is_empty());
    let twice = read("secret = \"x\"", &[], &flags).unwrap().config.check(Mode::Serve).unwrap_err().to_string();
    assert!(twice.starts_with("both `secret` and `secret_file`"), "{twice}");
}

#[test]
fn plain_text_for_others_is_a_decision() {
    let secret = "x".repeat(32);
    let check = |flags: &[(&str, &str)], mode| {
        let mut all = vec![("secret", secret.as_str()), ("listen", "0.0.0.0:8080")];
        all.extend(flags);
        read("", &[], &all).unwrap().config.check(mode)
    };
    let refused = check(&[], Mode::Serve).unwrap_err().to_string();
    assert!(refused.starts_with("plain text on 0.0.0.0:8080") && refused.contains("--insecure"), "{refused}");
    assert_eq!(check(&[("insecure", "true")], Mode::Serve).unwrap().len(), 1);
    assert!(check(&[("trusted_proxies", "10.0.0.1")], Mode::Serve).unwrap().is_empty());
    let demo = check(&[("insecure", "true")], Mode::Demo).unwrap_err().to_string();
    assert!(demo.contains("rushes serve"), "{demo}");
}
