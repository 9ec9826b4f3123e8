"""A Rushes worker in plain Python: `pip install websockets`, then
    python3 examples/worker.py ws://127.0.0.1:8080 "$(rushes token --role worker)"
It brings its own pipeline, `count`, and keeps a text file. Put your model where it counts."""
import asyncio, hashlib, json, sys, urllib.request, uuid
from websockets import ConnectionClosed, connect

server, token = sys.argv[1].rstrip("/"), sys.argv[2]
hello = {"type": "hello", "worker": "python", "instance": uuid.uuid4().hex, "pools": {"python": 1},
         "pipelines": [{"name": "count", "stages": [{"name": "counting", "pool": "python"}]}]}
held, unacked, offers, runs = {}, {}, {}, {}  # fences and tasks by lease; durable messages until they are acked
socket = None

async def say(message):
    try:
        await socket.send(json.dumps(message))
    except ConnectionClosed:
        pass  # durable messages are repeated after the reconnect

async def durable(kind, lease, **fields):
    message = {"type": kind, "lease": lease, "eventId": uuid.uuid4().hex, **fields}
    unacked[message["eventId"]] = message, asyncio.get_running_loop().create_future()
    await say(message)
    return await unacked[message["eventId"]][1]

def upload(generation, lease, name, data):
    request = urllib.request.Request(f"http{server[2:]}/v1/generations/{generation}/artifacts/{name}", data, method="PUT",
                                     headers={"authorization": f"Bearer {token}", "x-rushes-lease": lease})
    urllib.request.urlopen(request).read()
    return {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

async def run(generation, lease, goal):
    for n in range(1, goal + 1):
        await asyncio.sleep(0.05)  # the model works here
        await say({"type": "progress", "lease": lease, "stage": "counting", "progress": 100 * n / goal})
    await durable("artifact", lease, **await asyncio.to_thread(upload, generation, lease, "count.txt", b"%d\n" % goal))
    await durable("done", lease, outputs={"counted": goal})
    held.pop(lease, None)

async def heartbeat():
    while True:
        await say({"type": "heartbeat", "tokens": 10})
        await asyncio.sleep(2)

async def main():
    global socket
    async for socket in connect(f"{server}/v1/worker", additional_headers={"Authorization": f"Bearer {token}"}):
        await say({**hello, "leases": [{"lease": lease, "fence": fence} for lease, fence in held.items()]})
        for message, _ in unacked.values():
            await say(message)
        beat = asyncio.create_task(heartbeat())
        async for text in socket:
            m = json.loads(text)
            if m["type"] == "offer":
                offers[m["offer"]] = m["generation"], m["inputs"]["input"].get("goal", 20)
                await say({"type": "accept", "offer": m["offer"]})
            elif m["type"] == "granted":
                held[m["lease"]] = m["fence"]
                runs[m["lease"]] = asyncio.create_task(run(offers[m["offer"]][0], m["lease"], offers.pop(m["offer"])[1]))
            elif m["type"] in ("ack", "refused") and m["eventId"] in unacked:
                unacked.pop(m["eventId"])[1].set_result(m)
            elif m["type"] in ("cancel", "lease_lost") and held.pop(m["lease"], None):
                runs.pop(m["lease"]).cancel()
        beat.cancel()

asyncio.run(main())
