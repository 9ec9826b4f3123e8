//! All of one's own by a cursor: each event of each generation that is made after the first look is told once and in order,
//! however many come and go, and wherever an answer is cut.

use std::{collections::BTreeMap, hash::BuildHasher as _};

use access::{Cursors, Role, Secret};
use protocol::{EventType, GenerationId};
use serde_json::{Value, json};

use crate::{
    bed::{Bed, PATIENCE, SECRET, USER, http},
    transports::{Sent, Stream},
};

const MINE: &str = "/v1/events?mine";

/// One that holds a cursor, and what it was told.
struct Client {
    http: reqwest::Client,
    cursor: Option<String>,
    told: BTreeMap<String, Vec<u64>>,
}

impl Default for Client {
    fn default() -> Self {
        Self { http: http(), cursor: None, told: BTreeMap::new() }
    }
}

impl Client {
    fn get(&self, bed: &Bed, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.get(format!("http://{}{path}", bed.address)).timeout(PATIENCE);
        request.bearer_auth(bed.token(USER, Role::User))
    }

    /// A page of at most so many events; answers how many there were.
    async fn poll(&mut self, bed: &Bed, limit: usize) -> usize {
        let after = self.cursor.as_ref().map(|cursor| format!("&after={cursor}")).unwrap_or_default();
        let answer = self.get(bed, &format!("{MINE}&limit={limit}{after}")).send().await.unwrap();
        let status = answer.status();
        let page: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{page}");
        assert_eq!(page["done"], false, "of one's own there may always come more");
        self.cursor = Some(page["cursor"].as_str().unwrap().to_owned());
        let events = page["events"].as_array().unwrap();
        events.iter().for_each(|event| self.hear(event));
        events.len()
    }

    async fn poll_all(&mut self, bed: &Bed) {
        while self.poll(bed, 256).await > 0 {}
    }

    /// A stream that is cut after at most so many statuses.
    async fn stream(&mut self, bed: &Bed, statuses: usize) {
        let mut stream = self.open(bed).await;
        self.take(&mut stream, statuses).await;
    }

    async fn take(&mut self, stream: &mut Stream, statuses: usize) {
        for _ in 0..statuses {
            let Sent { name, id, data } = loop {
                let sent = stream.next().await.unwrap();
                if sent.name.as_deref() != Some("ended") {
                    break sent;
                }
            };
            assert_eq!(name, None, "{data}");
            self.hear(&data);
            self.cursor = id;
        }
    }

    async fn open(&self, bed: &Bed) -> Stream {
        let request = self.get(bed, MINE);
        Stream::open(match &self.cursor {
            Some(cursor) => request.header("last-event-id", cursor),
            None => request,
        })
        .await
    }

    fn hear(&mut self, event: &Value) {
        let id = event["generationId"].as_str().unwrap().to_owned();
        self.told.entry(id).or_default().push(event["sequence"].as_u64().unwrap());
    }

    fn count(&self) -> usize {
        self.told.values().map(Vec::len).sum()
    }

    fn told(&self, generation: &GenerationId) -> &[u64] {
        self.told.get(generation.as_str()).map_or(&[], Vec::as_slice)
    }
}

/// One of three events that ends at once.
async fn film(bed: &Bed, name: &str) -> GenerationId {
    let generation = bed.create(name).await;
    bed.append(&generation, 1, 2, Some(EventType::Complete)).await;
    generation
}

#[tokio::test]
async fn who_polls_all_of_their_own_hears_each_of_seventy_that_end_once_and_in_order() {
    let bed = Bed::start().await;
    let mut client = Client::default();
    client.poll(&bed, 256).await;
    for n in 0..70 {
        let generation = film(&bed, &format!("film{n}")).await;
        // Cut anywhere: before its first event, within it, and behind its end.
        for limit in [1, 1 + n % 3, 256] {
            client.poll(&bed, limit).await;
        }
        assert_eq!(client.told(&generation), [1, 2, 3], "{n}");
    }
    client.poll_all(&bed).await;
    assert!(client.told.values().all(|told| *told == [1, 2, 3]), "{:?}", client.told);
    let size = client.cursor.as_ref().unwrap().len();
    bed.pass(120_000);
    client.poll(&bed, 256).await;
    let later = client.cursor.unwrap().len();
    assert!(later < 200 && later < size, "the cursor forgets what ended: {size}, {later}");
}

#[tokio::test]
async fn a_stream_of_ones_own_goes_on_in_another_after_more_than_64_came_and_went() {
    let bed = Bed::start().await;
    let mut client = Client::default();
    let mut stream = client.open(&bed).await;
    for n in 0..150 {
        let generation = film(&bed, &format!("film{n}")).await;
        for sequence in 1..=3 {
            let sent = stream.next().await.unwrap();
            assert_eq!(
                (&sent.data["generationId"], &sent.data["sequence"]),
                (&generation.as_str().into(), &sequence.into())
            );
            client.hear(&sent.data);
            client.cursor = sent.id;
        }
        let ended = stream.next().await.unwrap();
        assert_eq!((ended.name.as_deref(), &ended.data["generationId"]), (Some("ended"), &generation.as_str().into()));
    }
    drop(stream);
    let last = film(&bed, "last").await;
    client.stream(&bed, 3).await;
    client.poll_all(&bed).await;
    assert_eq!(client.told(&last), [1, 2, 3]);
    assert!(client.told.values().all(|told| *told == [1, 2, 3]), "{:?}", client.told);
}

#[tokio::test]
async fn more_than_64_that_came_and_went_while_nobody_looked_are_all_told() {
    let bed = Bed::start().await;
    let (mut polls, mut streams) = (Client::default(), Client::default());
    polls.poll(&bed, 256).await;
    streams.cursor.clone_from(&polls.cursor);
    let mut films = Vec::new();
    for n in 0..150 {
        films.push(film(&bed, &format!("film{n}")).await);
    }
    while polls.poll(&bed, 50).await > 0 {}
    for statuses in [100, 349, 1] {
        streams.stream(&bed, statuses).await;
    }
    streams.poll_all(&bed).await;
    for film in &films {
        assert_eq!((polls.told(film), streams.told(film)), (&[1, 2, 3][..], &[1, 2, 3][..]), "{film}");
    }
}

#[tokio::test]
async fn who_was_away_while_a_thousand_were_made_is_told_to_begin_anew() {
    let bed = Bed::start().await;
    let mut client = Client::default();
    client.poll(&bed, 256).await;
    bed.create_many("crowd", 1_200).await;
    let cursor = client.cursor.unwrap();
    let refused = bed.get(&format!("{MINE}&after={cursor}")).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let problem = refused.json::<Value>().await.unwrap();
    assert_eq!(problem["error"]["code"], "invalid_position", "{problem}");
    assert!(problem["error"]["hint"].as_str().unwrap().contains("begin without"), "{problem}");
}

/// `created_at` is when it was decided; what a page tells is what was committed.
#[tokio::test]
async fn one_that_was_decided_before_a_page_and_committed_after_it_is_told_from_its_beginning() {
    let bed = Bed::start().await;
    let mut client = Client::default();
    client.poll(&bed, 256).await;
    let ends = bed.create_late("ends", 5_000).await;
    bed.append(&ends, 1, 2, Some(EventType::Complete)).await;
    let runs = bed.create_late("runs", 5_000).await;
    bed.append(&runs, 1, 2, None).await;
    client.poll_all(&bed).await;
    assert_eq!((client.told(&ends), client.told(&runs)), (&[1, 2, 3][..], &[1, 2, 3][..]));
    client.poll_all(&bed).await;
    bed.pass(120_000);
    client.poll_all(&bed).await;
    assert_eq!((client.told(&ends).len(), client.told(&runs).len()), (3, 3), "and only once");
}

#[tokio::test]
async fn what_had_ended_before_the_first_look_is_no_news() {
    let bed = Bed::start().await;
    for n in 0..70 {
        film(&bed, &format!("film{n}")).await;
    }
    let running = bed.create("running").await;
    bed.append(&running, 1, 4, None).await;
    let mut client = Client::default();
    client.poll_all(&bed).await;
    bed.append(&running, 5, 1, Some(EventType::Complete)).await;
    client.poll_all(&bed).await;
    assert_eq!(client.told, BTreeMap::from([(running.to_string(), vec![5, 6])]), "its state, and what followed");
}

#[tokio::test]
async fn of_more_than_64_under_way_the_older_ones_are_no_news_and_join_as_others_end() {
    let bed = Bed::start().await;
    bed.create_many("crowd", 70).await;
    let mut client = Client::default();
    client.poll_all(&bed).await;
    assert_eq!(client.told.len(), 64);
    for n in 60..66 {
        let ends: GenerationId = format!("gen_crowd{n}").parse().unwrap();
        bed.append(&ends, 1, 1, Some(EventType::Complete)).await;
        client.poll_all(&bed).await;
    }
    client.poll_all(&bed).await;
    assert_eq!(client.told.len(), 70);
    for (generation, told) in &client.told {
        let n: usize = generation.strip_prefix("gen_crowd").unwrap().parse().unwrap();
        assert_eq!(*told, if (60..66).contains(&n) { vec![1, 2] } else { vec![1] }, "{generation}");
    }
}

/// Written before cursors let go of what ended: 64 that ended long ago are in it, and nothing says so.
#[tokio::test]
async fn a_cursor_of_an_older_server_goes_on_though_it_is_full_of_what_ended() {
    let bed = Bed::start().await;
    let mut places = BTreeMap::new();
    for n in 0..64 {
        // The last was told two events of its three.
        let told = if n == 63 { 2 } else { 3 };
        places.insert(film(&bed, &format!("film{n}")).await.to_string(), told);
    }
    bed.pass(1);
    let running = bed.create("running").await;
    let position = bed.gateway.encoder().position(protocol::Sequence(0)).to_string();
    let epoch = position.strip_suffix(":0").unwrap();
    let old = json!({"e": epoch, "t": bed.now().0, "g": places}).to_string();
    let cursors = Cursors::new(&Secret::new(SECRET).unwrap());
    bed.pass(1);
    let made_since = film(&bed, "since").await;
    for by_stream in [false, true] {
        let mut client = Client { cursor: Some(cursors.seal(old.as_bytes())), ..Client::default() };
        if by_stream {
            client.stream(&bed, 5).await;
        }
        client.poll_all(&bed).await;
        let expected = [("gen_film63", vec![3]), (running.as_str(), vec![1]), (made_since.as_str(), vec![1, 2, 3])];
        let expected = expected.map(|(id, told)| (id.to_owned(), told));
        assert_eq!(client.told, BTreeMap::from(expected));
    }
}

/// Generations that begin, tell and end at random.
struct Story {
    /// How far each is told, and whether it goes on.
    heads: BTreeMap<String, (u64, bool)>,
    random: u64,
    /// Many come and go at once; or else may be committed seconds after they were decided.
    in_bursts: bool,
}

impl Story {
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn running(&mut self) -> Option<GenerationId> {
        let running: Vec<_> = self.heads.iter().filter(|(_, (_, runs))| *runs).map(|(id, _)| id.clone()).collect();
        if running.is_empty() {
            return None;
        }
        let at = self.below(running.len() as u64);
        Some(running[usize::try_from(at).unwrap()].parse().unwrap())
    }

    async fn create(&mut self, bed: &Bed) -> GenerationId {
        let late_ms = if self.in_bursts { 0 } else { self.below(2) * self.below(5_000) };
        bed.pass(1);
        let generation = bed.create_late(&format!("story{}", self.heads.len()), late_ms).await;
        self.heads.insert(generation.to_string(), (1, true));
        generation
    }

    async fn tell(&mut self, bed: &Bed, generation: &GenerationId, ends: bool) {
        let more = 1 + self.below(4);
        let (head, runs) = self.heads.get_mut(generation.as_str()).unwrap();
        bed.append(generation, *head, usize::try_from(more).unwrap(), ends.then_some(EventType::Complete)).await;
        (*head, *runs) = (*head + more, !ends);
    }

    /// Something happens. Never more run than one stream follows.
    async fn go_on(&mut self, bed: &Bed) {
        let running = self.running();
        let runs = self.heads.values().filter(|(_, runs)| *runs).count();
        match (self.below(10), running) {
            (0, _) => bed.pass(self.below(20_000)),
            (1, _) if self.in_bursts => {
                for _ in 0..self.below(100) {
                    let generation = self.create(bed).await;
                    self.tell(bed, &generation, true).await;
                }
            }
            (2..=4, Some(generation)) => self.tell(bed, &generation, false).await,
            (5..=6, Some(generation)) => self.tell(bed, &generation, true).await,
            (_, Some(generation)) if runs >= 60 => self.tell(bed, &generation, true).await,
            _ => {
                self.create(bed).await;
            }
        }
    }

    fn untold(&self, client: &Client) -> u64 {
        self.heads.values().map(|(head, _)| head).sum::<u64>() - client.count() as u64
    }
}

/// Whatever happens between pages, and wherever pages and streams are cut. `SEED=<number>` runs one again.
async fn tells_each_event_once_and_in_order(in_bursts: bool) {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => std::hash::RandomState::new().hash_one("many") | 1,
    };
    println!("SEED={seed}");
    let bed = Bed::start().await;
    let (mut story, mut client) = (Story { heads: BTreeMap::new(), random: seed, in_bursts }, Client::default());
    client.poll(&bed, 256).await;
    for _ in 0..200 {
        match story.below(8) {
            0 | 1 => {
                let limit = 1 + story.below(12);
                client.poll(&bed, usize::try_from(limit).unwrap()).await;
            }
            2 => {
                let mut stream = client.open(&bed).await;
                for _ in 0..story.below(6) {
                    story.go_on(&bed).await;
                }
                let untold = story.untold(&client);
                let cut = story.below(untold + 1);
                client.take(&mut stream, usize::try_from(cut).unwrap()).await;
            }
            _ => story.go_on(&bed).await,
        }
    }
    client.poll_all(&bed).await;
    for (generation, (head, _)) in &story.heads {
        let told = client.told.get(generation).map_or(&[][..], Vec::as_slice);
        assert_eq!(told, (1..=*head).collect::<Vec<_>>(), "{generation} with SEED={seed}");
    }
    assert_eq!(story.untold(&client), 0);
}

#[tokio::test]
async fn each_event_is_told_once_wherever_one_is_cut_off_and_however_many_come_and_go() {
    tells_each_event_once_and_in_order(true).await;
}

#[tokio::test]
async fn each_event_is_told_once_wherever_one_is_cut_off_and_however_late_it_is_committed() {
    tells_each_event_once_and_in_order(false).await;
}
