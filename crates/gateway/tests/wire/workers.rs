//! The worker's socket: bytes here, meaning elsewhere.

use access::Role;
use futures_util::SinkExt;
use protocol::worker::{ServerMessage, WorkerMessage};
use rushes_gateway::{Inbound, Outbound};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::bed::{Bed, USER, hear, next, say};

#[tokio::test]
async fn messages_frames_and_nonsense_reach_the_other_side_in_order() {
    let bed = Bed::start().await;
    let mut socket = bed.connect(&format!("/v1/worker?token={}", bed.token("w1", Role::Worker))).await;
    let (mut inbound, outbound) = loop {
        // The link is made when the socket was taken over, just after the handshake's answer.
        socket.send(Message::Ping(b"there?".as_slice().into())).await.unwrap();
        let Message::Pong(_) = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap() else { continue };
        break bed.workers.take();
    };
    say(&mut socket, r#"{"type":"heartbeat","tokens":3}"#).await;
    say(&mut socket, r#"{"type":"dance"}"#).await;
    socket.send(Message::binary(vec![1_u8; 100_000])).await.unwrap();
    let Some(Inbound::Message(message)) = inbound.recv().await else { panic!("no message") };
    assert!(matches!(*message, WorkerMessage::Heartbeat { .. }));
    assert!(matches!(inbound.recv().await, Some(Inbound::Unreadable(_))));
    let Some(Inbound::Frame(frame)) = inbound.recv().await else { panic!("no frame") };
    assert_eq!(frame.len(), 100_000);

    outbound.send(Outbound::Message(Box::new(ServerMessage::Drain { after_ms: 5 }))).await.unwrap();
    assert_eq!(hear(&mut socket).await["type"], "drain");
    outbound.send(Outbound::Close { code: 1001, reason: "bye" }).await.unwrap();
    let Message::Close(Some(close)) = next(&mut socket).await else { panic!("no close") };
    assert_eq!(u16::from(close.code), 1001);
    assert!(inbound.recv().await.is_none(), "the closed link is told");
}

#[tokio::test]
async fn a_user_is_no_worker() {
    let bed = Bed::start().await;
    let url = format!("ws://{}/v1/worker?token={}", bed.address, bed.token(USER, Role::User));
    let Err(Error::Http(refused)) = tokio_tungstenite::connect_async(url).await else { panic!("let in") };
    assert_eq!(refused.status(), 403);
}
