"""A Rushes worker in plain Python: pip install websockets; python3 examples/worker.py ws://127.0.0.1:8080 TOKEN
with a token of `rushes token --role worker`. It brings its own pipeline, `count`, which its server must allow
(`worker_pipelines`, as the demo does), and keeps a text file. Put your model where it counts."""
import asyncio, contextlib, hashlib, json, sys, urllib.request, uuid
from websockets import ConnectionClosed, connect

server, token = sys.argv[1].rstrip("/"), sys.argv[2]
hello = {"type": "hello", "worker": "python", "instance": uuid.uuid4().hex, "pools": {"python": 1},
         "pipelines": [{"name": "count", "stages": [{"name": "counting", "pool": "python"}]}]}
socket, offers, runs, unacked = None, {}, {}, {}  # runs: fence and task by lease; unacked: message and its event by id

async def say(message):
    with contextlib.suppress(ConnectionClosed):  # progress may be lost; what is durable is said again
        await socket.send(json.dumps(message))

async def durable(what, lease, **fields):
    event_id, acked = uuid.uuid4().hex, asyncio.Event()
    unacked[event_id] = {"type": what, "lease": lease, "eventId": event_id, **fields}, acked
    await say(unacked[event_id][0])
    await acked.wait()

def upload(lease, generation, name, data):
    url = f"http{server[2:]}/v1/generations/{generation}/artifacts/{name}"
    headers = {"authorization": f"Bearer {token}", "x-rushes-lease": lease}
    urllib.request.urlopen(urllib.request.Request(url, data, headers, method="PUT")).close()
    return {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

async def run(lease, generation, goal):
    try:
        for n in range(1, goal + 1):
            await asyncio.sleep(0.05)  # the model works here
            await say({"type": "progress", "lease": lease, "stage": "counting", "progress": 100 * n / goal})
        kept = await asyncio.to_thread(upload, lease, generation, "count.txt", f"{goal}\n".encode())
        await durable("artifact", lease, **kept)
        await durable("done", lease, outputs={"counted": goal})
    except (asyncio.CancelledError, Exception) as error:  # no fault of the run: a stop, an old token, no way to the server
        blameless = getattr(error, "code", 503) in (401, 503) and isinstance(error, (asyncio.CancelledError, OSError))
        await (durable("hand_back", lease) if blameless else durable("fail", lease, kind="retryable", message=repr(error)))
    runs.pop(lease, None)

async def main():
    global socket
    async for socket in connect(f"{server}/v1/worker", additional_headers={"Authorization": f"Bearer {token}"}):
        await say({**hello, "leases": [{"lease": lease, "fence": fence} for lease, (fence, _) in runs.items()]})
        for message, _ in list(unacked.values()): await say(message)
        with contextlib.suppress(ConnectionClosed):  # then `connect` comes back, with what is held and unacked
            while True:
                with contextlib.suppress(asyncio.TimeoutError):
                    m = json.loads(await asyncio.wait_for(socket.recv(), 2))
                    if m["type"] == "offer":
                        offers[m["offer"]] = m["generation"], m["inputs"]["input"].get("goal", 20)
                        await say({"type": "accept", "offer": m["offer"]})
                    if m["type"] == "granted":
                        runs[m["lease"]] = m["fence"], asyncio.create_task(run(m["lease"], *offers.pop(m["offer"])))
                    if m.get("eventId") in unacked: unacked.pop(m["eventId"])[1].set()  # `ack`, or `refused` for good
                    if m["type"] in ("cancel", "lease_lost") and m["lease"] in runs: runs.pop(m["lease"])[1].cancel()
                    if m["type"] == "error" and m["code"] == "unauthorized": [task.cancel() for _, task in runs.values()]
                await say({"type": "heartbeat", "tokens": 10})

asyncio.run(main())
