//! Another's generation, by every door: nothing tells it from one that does not exist.

use access::Role;
use anyhow::{Context, Result};
use rushes_tests::{Puppet, Reply, Server, Socket, program::token};
use serde_json::{Value, json};

use super::goes_on;

/// What no generation is called.
const UNKNOWN: &str = "gen_unknown";

/// A server with a finished generation of ada's, with a film.
async fn finished() -> Result<(Server, String)> {
    let server = Server::start()?;
    let id = server.submit("ada").await?;
    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    worker.finish(&server, &lease).await?;
    let film = server.http("GET", &format!("/v1/generations/{id}/artifacts/film.mp4"))?;
    let film = Reply::of(film.bearer_auth(token("ada", Role::User))).await?;
    assert_eq!((film.status, film.body), (200, b"not really a film".to_vec()), "its owner has it");
    Ok((server, id))
}

/// A token of bob for a generation of his own, as his page has it.
async fn live_token_of_bob(server: &Server) -> Result<String> {
    let (_, accepted) = server.request("POST", "/v1/generations", "bob", Some(&json!({"prompt": "a lake"}))).await?;
    Ok(accepted["liveToken"].as_str().context("a live token")?.to_owned())
}

struct Door {
    method: &'static str,
    path: fn(&str) -> String,
    headers: &'static [(&'static str, &'static str)],
    body: fn(&str) -> Value,
}

/// All doors to a generation, each with a request that its owner's would do.
fn doors() -> Vec<Door> {
    fn of(id: &str, rest: &str) -> String {
        format!("/v1/generations/{id}{rest}")
    }
    let nothing: fn(&str) -> Value = |_| json!({});
    let get = |path, headers| Door { method: "GET", path, headers, body: nothing };
    let change = |method, path, body| Door { method, path, headers: &[], body };
    let many: fn(&str) -> String = |id| format!("/v1/events?generation={id}");
    vec![
        get(|id| of(id, ""), &[]),
        get(|id| of(id, "/events"), &[]),
        get(|id| of(id, "/events"), &[("accept", "text/event-stream")]),
        get(|id| of(id, "/events"), &[("prefer", "wait=25")]),
        get(|id| of(id, "/frames/latest"), &[]),
        get(|id| of(id, "/artifacts/film.mp4"), &[]),
        get(|id| of(id, "/artifacts/film.mp4"), &[("range", "bytes=0-1")]),
        get(|id| of(id, "/artifacts/none.mp4"), &[]),
        get(|id| format!("/api/generations/{id}/status"), &[]),
        get(many, &[]),
        get(many, &[("accept", "text/event-stream")]),
        get(many, &[("prefer", "wait=25")]),
        change("DELETE", |id| of(id, ""), nothing),
        change("PATCH", |id| of(id, ""), |_| json!({"priority": "batch"})),
        change("POST", |id| of(id, "/cancel"), nothing),
        change("POST", |id| of(id, "/retry"), nothing),
        change("POST", |id| of(id, "/events"), |_| json!([{"eventId": "e1", "status": "encoding"}])),
        change("PUT", |id| of(id, "/artifacts/film.mp4"), nothing),
        change("POST", |_| "/v1/tokens".to_owned(), |id| json!({"generations": [id]})),
    ]
}

#[tokio::test]
async fn by_http_it_looks_like_one_that_does_not_exist_to_the_letter() -> Result<()> {
    let (server, id) = finished().await?;
    let bob = token("bob", Role::User);
    for Door { method, path, headers, body } in doors() {
        let knock = async |id: &str| {
            let mut request = server.http(method, &path(id))?.bearer_auth(&bob).json(&body(id));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            Reply::of(request).await
        };
        println!("{method} {} {headers:?}", path(&id));
        let (foreign, unknown) = (knock(&id).await?, knock(UNKNOWN).await?);
        foreign.assert_refused(404, "not_found", &["id", "owner"]);
        assert_eq!(foreign.text(), unknown.text());
        let names = |reply: &Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&foreign), names(&unknown));
    }
    let (status, generation) = server.request("GET", &format!("/v1/generations/{id}"), "ada", None).await?;
    assert_eq!((status, &generation["state"]), (200, &json!("complete")), "nothing happened to it");
    goes_on(&server).await
}

#[tokio::test]
async fn a_live_token_of_another_generation_does_not_open_it() -> Result<()> {
    let (server, id) = finished().await?;
    let live = live_token_of_bob(&server).await?;
    for Door { method, path, headers, body } in doors() {
        if method != "GET" {
            continue;
        }
        let mut request = server.http(method, &path(&id))?.bearer_auth(&live).json(&body(&id));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        println!("{method} {} {headers:?}", path(&id));
        Reply::of(request).await?.assert_refused(404, "not_found", &["id", "owner"]);
    }
    goes_on(&server).await
}

#[tokio::test]
async fn on_the_socket_it_is_the_same_error_as_an_unknown_one() -> Result<()> {
    let (server, id) = finished().await?;
    let live = live_token_of_bob(&server).await?;
    let mut by_live_token = Socket::open(&server.url, "/v1/live", Some(&live)).await?;
    by_live_token.until("authenticated").await?;
    for mut socket in [Socket::live(&server.url, "bob").await?, by_live_token] {
        for (kind, fields) in [
            ("subscribe", json!({})),
            ("subscribe", json!({"after": "start"})),
            ("subscribe", json!({"after": "now", "frames": {"maxFps": 12}})),
            ("cancel", json!({})),
            ("prioritize", json!({"priority": "interactive"})),
            ("credit", json!({"events": 1})),
        ] {
            let mut answers = Vec::new();
            for id in [id.as_str(), UNKNOWN] {
                let mut message = json!({"type": kind, "generationId": id});
                message.as_object_mut().context("an object")?.extend(fields.as_object().context("fields")?.clone());
                socket.say(&message).await?;
                let mut answer = socket.message().await?;
                assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_found")), "{answer}");
                assert_eq!(answer["generationId"], id, "{answer}");
                answer
                    .as_object_mut()
                    .context("an object")?
                    .retain(|key, _| key != "generationId" && key != "timestamp");
                answers.push(answer);
            }
            assert_eq!(answers[0], answers[1], "{kind}");
        }
    }
    goes_on(&server).await
}

#[tokio::test]
async fn lists_and_streams_of_ones_own_leave_it_out() -> Result<()> {
    let (server, id) = finished().await?;
    let own = server.submit("bob").await?;
    let (_, page) = server.request("GET", "/v1/generations", "bob", None).await?;
    let listed = page["generations"].as_array().context("a page")?;
    assert_eq!(listed.iter().map(|one| &one["id"]).collect::<Vec<_>>(), [&json!(own)]);
    let (status, events) = server.request("GET", "/v1/events?mine&after=start", "bob", None).await?;
    assert!(status == 200 && !events.to_string().contains(&id), "{events}");
    let (status, refused) = server.request("GET", "/v1/generations?owner=ada", "bob", None).await?;
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("forbidden")), "{refused}");
    goes_on(&server).await
}

#[tokio::test]
async fn a_signed_link_opens_one_file_of_one_generation_unchanged() -> Result<()> {
    let (server, id) = finished().await?;
    let (_, generation) = server.request("GET", &format!("/v1/generations/{id}"), "ada", None).await?;
    let link = generation["artifacts"][0]["url"].as_str().context("a link")?;
    assert_eq!(Reply::of(server.http("GET", link)?).await?.status, 200, "whoever has the link has the film");
    let other = server.submit("bob").await?;
    for changed in [
        link.replace("film.mp4", "other.mp4"),
        link.replace(&id, &other),
        link.replace("expires=", "expires=1"),
        link.replace("signature=", "signature=A"),
    ] {
        assert_ne!(changed, link);
        Reply::of(server.http("GET", &changed)?).await?.assert_refused(401, "unauthorized", &["link", "again"]);
    }
    goes_on(&server).await
}
