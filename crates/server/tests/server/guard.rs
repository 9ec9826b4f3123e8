//! The guard around all routes: once on each of them, whoever answers.

use reqwest::Method;

use crate::bed::{Answer, Bed};

const ONCE: [&str; 4] = ["vary", "access-control-allow-origin", "access-control-expose-headers", "x-correlation-id"];

#[tokio::test]
async fn each_answer_has_the_headers_of_the_guard_once() {
    let bed = Bed::with(&[("allowed_origins", "https://app.example")]).await;
    let ada = bed.user("ada");
    // The gateway's, the server's, nobody's, and a wrong method.
    for (method, path) in [
        (Method::GET, "/health"),
        (Method::GET, "/v1/generations/gen_x/events"),
        (Method::GET, "/v1/live"),
        (Method::GET, "/v1/generations"),
        (Method::GET, "/openapi.json"),
        (Method::GET, "/no/such/path"),
        (Method::DELETE, "/health"),
    ] {
        let request = bed.request(method.clone(), path, &ada).header("origin", "https://app.example");
        let answer = Answer::of(request.send().await.unwrap()).await;
        for name in ONCE {
            assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name} of {method} {path}: {answer:?}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
        assert_eq!(answer.header("vary"), "origin");
    }
}

#[tokio::test]
async fn a_foreign_page_is_refused_by_every_route_and_a_preflight_answered() {
    let bed = Bed::with(&[("allowed_origins", "https://app.example")]).await;
    for path in ["/health", "/v1/events", "/v1/generations", "/v1/live", "/no/such/path"] {
        let foreign = bed.request(Method::GET, path, "").header("origin", "https://evil.example");
        let refused = Answer::of(foreign.send().await.unwrap()).await;
        assert_eq!(refused.refusal(), (403, "origin_refused".to_owned()), "{path}");
        let preflight = bed
            .request(Method::OPTIONS, path, "")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET");
        let answer = Answer::of(preflight.send().await.unwrap()).await;
        assert_eq!((answer.status, answer.headers.get_all("vary").iter().count()), (204, 1), "{path}");
    }
}
