//! What the command line tells an operator of one generation: why it does not run, and where its time went.

use access::Role;
use anyhow::{Result, ensure};
use rushes_tests::{
    Puppet, Reply, Server,
    program::{run, token},
};
use serde_json::{Value, json};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn say(command: &str, id: &str, server: &Server, token: &str) -> Result<String> {
    let ended = run(&[command, id, "--server", &server.url, "--token", token], &[]).await?;
    ensure!(ended.code == 0, "{}: {}", ended.code, ended.said);
    Ok(ended.said)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_why_and_where_the_time_went_across_a_death_of_the_server() -> Result<()> {
    let mut server = Server::start()?;
    let (ada, operator) = (token("ada", Role::User), token("op", Role::Operator));
    let request = server.http("POST", "/v1/generations")?.bearer_auth(&ada).header("traceparent", TRACE);
    let accepted = Reply::of(request.json(&json!({"prompt": "a lake"}))).await?.json()?;
    let id = accepted["generation"]["id"].as_str().unwrap_or_default().to_owned();
    assert!(say("why", &id, &server, &operator).await?.starts_with("no worker of pool gpu is connected\n"));
    let refused = run(&["why", &id, "--server", &server.url, "--token", &ada], &[]).await?;
    assert!(refused.code != 0 && refused.said.contains("role"), "{}: {}", refused.code, refused.said);

    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    assert!(say("why", &id, &server, &operator).await?.starts_with("it is running on w1\n"));
    let fail = json!({"type": "fail", "lease": lease.id, "eventId": "f1", "kind": "retryable", "message": "no luck"});
    assert_eq!(worker.durable(&fail).await?["type"], "ack");
    drop(worker);
    server.kill();
    server.start_again()?;

    // A new worker process goes on; what it is offered still belongs to the trace of the first request.
    let mut worker = Puppet::connect(&server, "w2").await?;
    let offer: Value = worker.socket.until("offer").await?;
    assert_eq!(offer["traceparent"], TRACE);
    worker.socket.say(&json!({"type": "accept", "offer": offer["offer"]})).await?;
    let granted = worker.socket.until("granted").await?;
    let done = json!({"type": "done", "lease": granted["lease"], "eventId": "d1"});
    assert_eq!(worker.durable(&done).await?["type"], "ack");
    let told = say("timeline", &id, &server, &ada).await?;
    for line in
        ["is complete", "waited: submitted", "run on w1", "no luck", "another try", "run on w2", "1 failed tries"]
    {
        assert!(told.contains(line), "no {line:?} in\n{told}");
    }
    assert!(told.contains("trace 0af7651916cd43dd8448eb211c80319c"), "{told}");
    assert!(say("why", &id, &server, &operator).await?.starts_with("it is complete\n"));
    Ok(())
}
