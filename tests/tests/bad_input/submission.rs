//! What asks for a film, and what asks for lists, pages and changes.

use std::time::Duration;

use access::Role;
use anyhow::{Context, Result};
use rushes_tests::{PATIENCE, Reply, Server, Socket, program::token};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{ask, ask_raw, goes_on};

const SUBMIT: &str = "/v1/generations";

/// Each body is refused with this status and code, naming what stands beside it.
async fn refused(status: u16, code: &str, cases: &[(Value, &[&str])]) -> Result<()> {
    let server = Server::start()?;
    for (body, names) in cases {
        ask(&server, "POST", SUBMIT, body).await?.assert_refused(status, code, names);
    }
    goes_on(&server).await
}

#[tokio::test]
async fn what_is_not_json_is_told_where_it_stops_being_json() -> Result<()> {
    let server = Server::start()?;
    let deep = r#"{"input":"#.repeat(10_000);
    for (body, names) in [
        (b"".as_slice(), ["JSON", "line 1"]),
        (b"a quiet lake", ["JSON", "line 1"]),
        (b"{\"prompt\":\n\"a lake\"", ["JSON", "line 2"]),
        (b"{\"prompt\":\"a lake\"}}", ["JSON", "column 20"]),
        (b"{\"prompt\":\"\xff\xfe\"}", ["JSON", "UTF-8"]),
        (deep.as_bytes(), ["JSON", "recursion"]),
    ] {
        ask_raw(&server, "POST", SUBMIT, body.to_vec()).await?.assert_refused(400, "invalid_request", &names);
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_wrong_type_is_named_with_its_field() -> Result<()> {
    refused(
        400,
        "invalid_request",
        &[
            (json!({"prompt": 7}), &["prompt", "string"]),
            (json!({"prompt": ["a", "b"]}), &["prompt", "string"]),
            (json!({"prompt": "a lake", "params": []}), &["params", "map"]),
            (json!({"prompt": "a lake", "priority": "urgent"}), &["priority", "urgent", "interactive"]),
            (json!({"prompt": "a lake", "metadata": "mine"}), &["metadata"]),
            (json!({"prompt": "a lake", "pipeline": {"name": "video"}}), &["pipeline"]),
            (json!(["a lake"]), &["map"]),
            (json!("a lake"), &["map"]),
            (json!(null), &["map"]),
        ],
    )
    .await
}

#[tokio::test]
async fn a_wrong_type_inside_the_input_is_named_with_its_place() -> Result<()> {
    refused(
        422,
        "invalid_input",
        &[
            (json!({"prompt": "a lake", "params": {"width": "wide"}}), &["width"]),
            (json!({"prompt": "a lake", "params": {"fps": 12.5}}), &["fps"]),
            (json!({"prompt": "a lake", "params": {"seconds": null}}), &["seconds"]),
            (json!({"input": {"prompt": {"text": "a lake"}}}), &["prompt"]),
        ],
    )
    .await
}

#[tokio::test]
async fn an_unknown_field_is_named_beside_the_known_ones() -> Result<()> {
    refused(
        400,
        "invalid_request",
        &[
            (json!({"promt": "a lake"}), &["promt", "prompt"]),
            (json!({"prompt": "a lake", "width": 640}), &["width", "params"]),
        ],
    )
    .await?;
    refused(422, "invalid_input", &[(json!({"prompt": "a lake", "params": {"colour": "red"}}), &["colour"])]).await
}

#[tokio::test]
async fn a_field_that_is_not_built_is_said_to_be_unsupported() -> Result<()> {
    refused(
        400,
        "unsupported",
        &[
            (json!({"prompt": "a lake", "webhook": "https://a.example"}), &["webhook", "leave"]),
            (json!({"prompt": "a lake", "delay": 5}), &["delay"]),
        ],
    )
    .await
}

#[tokio::test]
async fn a_deadline_that_makes_no_sense_says_what_would_do() -> Result<()> {
    refused(
        400,
        "invalid_request",
        &[
            // Seconds where milliseconds are wanted lie in the past.
            (
                json!({"prompt": "a lake", "deadline": 4_102_444_800_u64}),
                &["deadline", "to come", "milliseconds since 1970"],
            ),
            (json!({"prompt": "a lake", "deadline": 1_700_000_000_000_u64}), &["deadline", "to come"]),
            (json!({"prompt": "a lake", "deadline": 4_102_444_800_000_u64}), &["deadline", "at most"]),
            (json!({"prompt": "a lake", "deadline": "tomorrow"}), &["tomorrow"]),
            (
                json!({"pipeline": "external", "input": {}, "deadline": 4_102_444_800_000_u64}),
                &["deadline", "external"],
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn an_unknown_pipeline_is_named_beside_the_known_ones() -> Result<()> {
    refused(
        422,
        "unknown_pipeline",
        &[
            (json!({"pipeline": "holograms", "prompt": "a lake"}), &["holograms", "video", "worker"]),
            (json!({"pipeline": "Video", "prompt": "a lake"}), &["Video", "video"]),
        ],
    )
    .await
}

#[tokio::test]
async fn an_empty_prompt_is_refused() -> Result<()> {
    refused(
        422,
        "invalid_input",
        &[
            (json!({"prompt": ""}), &["prompt"]),
            (json!({"prompt": " \n\t "}), &["prompt"]),
            (json!({"params": {"seconds": 1}}), &["prompt"]),
            (json!({}), &["prompt"]),
        ],
    )
    .await
}

#[tokio::test]
async fn a_prompt_has_at_most_4000_characters_of_any_script() -> Result<()> {
    let server = Server::start()?;
    for script in ["x", "語", "🎬"] {
        let (status, answer) =
            server.request("POST", SUBMIT, "ada", Some(&json!({"prompt": script.repeat(4_000)}))).await?;
        assert_eq!(status, 201, "4,000 of {script}: {answer}");
        let long = ask(&server, "POST", SUBMIT, &json!({"prompt": script.repeat(4_001)})).await?;
        long.assert_refused(422, "invalid_input", &["prompt"]);
        assert!(long.body.len() < 2_000, "the prompt is not repeated whole");
    }
    goes_on(&server).await
}

#[tokio::test]
async fn absurd_sizes_and_lengths_are_named_with_their_bounds() -> Result<()> {
    let server = Server::start()?;
    for (field, value, bound) in [
        ("width", json!(0), "64"),
        ("width", json!(-1), "64"),
        ("width", json!(1_000_000), "1920"),
        ("height", json!(1e300), "1920"),
        ("height", json!(u64::MAX), "1920"),
        ("fps", json!(0), "1"),
        ("fps", json!(100_000), "60"),
        ("seconds", json!(0), "0.1"),
        ("seconds", json!(-5), "0.1"),
        ("seconds", json!(31_536_000), "60"),
        ("seed", json!(-1), "0"),
    ] {
        let body = json!({"prompt": "a lake", "params": {field: value}});
        ask(&server, "POST", SUBMIT, &body).await?.assert_refused(422, "invalid_input", &[field, bound]);
    }
    goes_on(&server).await
}

#[tokio::test]
async fn bodies_and_their_parts_over_the_limit_are_told_the_limit() -> Result<()> {
    let server = Server::start()?;
    let kib = |n: usize| "x".repeat(n * 1024);
    let input = json!({"pipeline": "external", "input": {"text": kib(65)}});
    ask(&server, "POST", SUBMIT, &input).await?.assert_refused(413, "too_large", &["input", "65536", "uploads"]);
    let metadata = json!({"prompt": "a lake", "metadata": {"text": kib(9)}});
    ask(&server, "POST", SUBMIT, &metadata).await?.assert_refused(413, "too_large", &["metadata", "8192"]);
    let body = json!({"prompt": kib(129)});
    ask(&server, "POST", SUBMIT, &body).await?.assert_refused(413, "too_large", &["body", "131072", "uploads"]);
    goes_on(&server).await
}

/// As over a slow uplink: the answer is there before the first byte of the body leaves, and is read when all has left.
#[tokio::test]
async fn an_upload_that_is_refused_before_its_body_comes_is_told_why() -> Result<()> {
    const PARTS: usize = 10;
    /// Between two parts of the body; together they take a second.
    const PAUSE: Duration = Duration::from_millis(100);
    let server = Server::start()?;
    let mut uplink = TcpStream::connect(server.address()).await?;
    let head = format!(
        "POST /v1/uploads HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        server.address(),
        token("ada", Role::User),
        u64::MAX / 2
    );
    uplink.write_all(head.as_bytes()).await?;
    timeout(PATIENCE, uplink.readable()).await??;
    for part in 0..PARTS {
        tokio::time::sleep(PAUSE).await;
        uplink.write_all(&[b'x'; 1_024]).await.with_context(|| format!("part {part} of the body is not taken"))?;
    }
    let mut answer = String::new();
    timeout(PATIENCE, uplink.read_to_string(&mut answer)).await?.context("the answer is lost")?;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("too_large"), "{answer}");
    assert!(answer.ends_with('}'), "{answer}");
    goes_on(&server).await
}

#[tokio::test]
async fn a_body_that_does_not_say_how_long_it_is_is_bounded_all_the_same() -> Result<()> {
    let server = Server::start()?;
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 16 * 1024]));
    let request = server.http("POST", SUBMIT)?.bearer_auth(token("ada", Role::User));
    match Reply::of(request.body(reqwest::Body::wrap_stream(endless))).await {
        Ok(reply) => reply.assert_refused(413, "too_large", &["131072"]),
        // A client that does not listen while it sends finds the connection closed.
        Err(error) => assert!(format!("{error:?}").to_lowercase().contains("connection"), "{error:?}"),
    }
    goes_on(&server).await
}

#[tokio::test]
async fn an_idempotency_key_is_bounded_and_means_one_body() -> Result<()> {
    let server = Server::start()?;
    let submit = async |key: &str, prompt: &str| {
        let request = server.http("POST", SUBMIT)?.bearer_auth(token("ada", Role::User));
        Reply::of(request.header("idempotency-key", key).json(&json!({"prompt": prompt}))).await
    };
    submit(&"k".repeat(256), "a lake").await?.assert_refused(400, "invalid_request", &["Idempotency-Key", "255"]);
    assert_eq!(submit("order-7", "a lake").await?.status, 201);
    submit("order-7", "a city").await?.assert_refused(409, "idempotency_conflict", &["key"]);
    goes_on(&server).await
}

#[tokio::test]
async fn only_services_submit_for_others() -> Result<()> {
    refused(
        403,
        "forbidden",
        &[
            (json!({"prompt": "a lake", "owner": "bob"}), &["owner", "service"]),
            (json!({"prompt": "a lake", "tenant": "acme"}), &["tenant", "service"]),
        ],
    )
    .await
}

#[tokio::test]
async fn queries_that_cannot_be_read_are_told_what_can() -> Result<()> {
    let server = Server::start()?;
    let id = server.submit("ada").await?;
    let of_one = |rest: &str| format!("/v1/generations/{id}{rest}");
    for (path, code, names) in [
        ("/v1/generations?limit=0".to_owned(), "invalid_request", ["limit", "200"]),
        ("/v1/generations?limit=many".to_owned(), "invalid_request", ["limit", "cursor"]),
        ("/v1/generations?state=dancing".to_owned(), "invalid_request", ["dancing", "state"]),
        ("/v1/generations?cursor=../..".to_owned(), "invalid_request", ["cursor", "nextCursor"]),
        ("/v1/generations?colour=red".to_owned(), "invalid_request", ["colour", "known"]),
        (of_one("/events?after=yesterday"), "invalid_position", ["yesterday", "start"]),
        (of_one("/events?after=k3f9:-1"), "invalid_position", ["k3f9:-1", "position"]),
    ] {
        ask_raw(&server, "GET", &path, "").await?.assert_refused(400, code, &names);
    }
    goes_on(&server).await
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_say_what_does() -> Result<()> {
    let server = Server::start()?;
    ask_raw(&server, "GET", "/v1/films", "").await?.assert_refused(404, "not_found", &["/v1/films", "openapi"]);
    let wrong = ask_raw(&server, "DELETE", "/v1/generations", "").await?;
    wrong.assert_refused(405, "method_not_allowed", &["DELETE", "Allow"]);
    assert!(wrong.header("allow").contains("POST"), "{:?}", wrong.headers);
    goes_on(&server).await
}

#[tokio::test]
async fn changes_that_cannot_be_read_are_named() -> Result<()> {
    let server = Server::start()?;
    let id = server.submit("ada").await?;
    let path = format!("/v1/generations/{id}");
    for (method, path, body, names) in [
        ("PATCH", path.clone(), json!({"priority": "now"}), ["now", "interactive"]),
        ("PATCH", path.clone(), json!({"colour": "red"}), ["colour", "priority"]),
        ("POST", "/v1/tokens".to_owned(), json!({"generations": []}), ["0 generations", "64"]),
        ("POST", "/v1/tokens".to_owned(), json!({"generations": [id], "ttlSeconds": 1e9 as u64}), ["ttl", "86400"]),
        ("POST", "/v1/tokens".to_owned(), json!({"generations": ["a b"]}), ["1 to 128", "line 1"]),
    ] {
        ask(&server, method, &path, &body).await?.assert_refused(400, "invalid_request", &names);
    }
    let events = format!("{path}/events");
    let report = json!([{"eventId": "e1", "status": "encoding"}]);
    ask(&server, "POST", &events, &report).await?.assert_refused(409, "lease_required", &["lease", "external"]);
    let retry = format!("{path}/retry");
    ask(&server, "POST", &retry, &json!({})).await?.assert_refused(409, "state_conflict", &["ended"]);
    ask(&server, "DELETE", &path, &json!({})).await?.assert_refused(409, "state_conflict", &["queued", "cancel"]);
    goes_on(&server).await
}

#[tokio::test]
async fn a_generate_on_the_socket_is_refused_by_name_and_the_socket_goes_on() -> Result<()> {
    let server = Server::start()?;
    let mut socket = Socket::live(&server.url, "ada").await?;
    for (fields, code, name) in [
        (json!({"promt": "a lake"}), "invalid_request", "promt"),
        (json!({"prompt": 7}), "invalid_request", "string"),
        (json!({"prompt": "a lake", "webhook": "x"}), "unsupported", "webhook"),
        (json!({"prompt": ""}), "invalid_input", "prompt"),
        (json!({"prompt": "x".repeat(4_001)}), "invalid_input", "prompt"),
        (json!({"prompt": "a lake", "params": {"width": 1_000_000}}), "invalid_input", "width"),
        (json!({"prompt": "a lake", "pipeline": "holograms"}), "unknown_pipeline", "holograms"),
        (json!({"prompt": "a lake", "owner": "bob"}), "forbidden", "submit"),
    ] {
        let mut message = json!({"type": "generate", "requestId": "r1"});
        message.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        socket.say(&message).await?;
        let error = socket.message().await?;
        assert_eq!(
            (&error["type"], &error["code"], &error["requestId"]),
            (&json!("error"), &json!(code), &json!("r1"))
        );
        assert!(error["error"].as_str().is_some_and(|text| text.contains(name)), "{name}: {error}");
    }
    socket.say(&json!({"type": "generate", "requestId": "r2", "prompt": "a lake"})).await?;
    assert_eq!(socket.message().await?["type"], "accepted");
    goes_on(&server).await
}

/// Arrays in arrays, so many deep.
fn nested(depth: usize) -> Value {
    (1..depth).fold(json!([]), |inside, _| json!([inside]))
}

/// JSON that nests nearly as deep as readers go would be written with something around it, and then be read by nobody: not by
/// the page, not by the store.
#[tokio::test]
async fn what_nests_too_deep_is_refused_and_what_just_fits_can_be_read_for_ever() -> Result<()> {
    const DEEPEST: usize = 64;
    let mut server = Server::start()?;
    // The object it stands in is a level too.
    let (fits, deep) = (nested(DEEPEST - 1), nested(DEEPEST));
    for field in ["metadata", "input"] {
        let body = json!({"pipeline": "external", field: {"a": deep}});
        ask(&server, "POST", SUBMIT, &body).await?.assert_refused(422, "invalid_input", &[field, "65", "64"]);
    }
    let id = server
        .submit_this("ada", &json!({"pipeline": "external", "metadata": {"a": fits}, "input": {"a": fits}}))
        .await?;
    let events = format!("{SUBMIT}/{id}/events");
    // An id as long as an id may be, and what the server makes of it is longer.
    let report = |event: &str, facts: &Value| json!([{"eventId": event, "status": "generating_frames", "progress": 10, "metadata": {"b": facts}}]);
    ask(&server, "POST", &events, &report("deep", &deep)).await?.assert_refused(
        400,
        "invalid_request",
        &["metadata", "65"],
    );
    let longest = "e".repeat(128);
    let taken = ask(&server, "POST", &events, &report(&longest, &fits)).await?;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let read = async |server: &Server| {
        let (status, page) = server.request("GET", &format!("{events}?after=start"), "ada", None).await?;
        anyhow::ensure!(status == 200, "{status} {page}");
        let listed = server.request("GET", SUBMIT, "ada", None).await?;
        anyhow::ensure!(listed.0 == 200 && listed.1.to_string().contains(&id), "{listed:?}");
        Ok(page["events"].clone())
    };
    let before = read(&server).await?;
    assert_eq!(before[1]["eventId"], format!("{longest}.0"));
    assert_eq!((&before[1]["metadata"]["client"]["a"], &before[1]["metadata"]["b"]), (&fits, &fits));
    server.kill();
    server.start_again()?;
    assert_eq!(read(&server).await?, before);
    goes_on(&server).await
}
