// How a model of one's own is attached: the worker protocol in lines that run as they stand, and how to start them.

import { useEffect, useRef } from "react";
import { CloseIcon } from "../frame/icons.tsx";
import { Copyable } from "../frame/copyable.tsx";
import "./attach.css";

const WORKER = `import json, sys, uuid
from urllib.request import Request, urlopen
from websockets.sync.client import connect
from my_model import generate  # yours: (prompt, on_percent) -> the bytes of an mp4

url, auth = sys.argv[1], {"Authorization": "Bearer " + sys.argv[2]}
with connect(url + "/v1/worker", additional_headers=auth) as ws:
    say = lambda type, **fields: ws.send(json.dumps({"type": type, **fields}))
    say("hello", worker="mine", instance=uuid.uuid4().hex, pools={"gpu": 1})
    while True:
        say("heartbeat", tokens=1)
        try: m = json.loads(ws.recv(timeout=2))
        except TimeoutError: continue
        if m["type"] == "offer":
            job = m
            say("accept", offer=m["offer"])
        if m["type"] == "granted":
            run = {"lease": m["lease"]}
            tell = lambda done: say("progress", **run, stage="generating_frames", progress=done)
            film = generate(job["inputs"]["input"]["prompt"], tell)
            to = f"http{url[2:]}/v1/generations/{job['generation']}/artifacts/film.mp4"
            kept = urlopen(Request(to, film, {**auth, "x-rushes-lease": m["lease"]}, method="PUT"))
            say("artifact", **run, eventId=uuid.uuid4().hex, **json.load(kept))  # name, size, hash
            say("done", **run, eventId=uuid.uuid4().hex, outputs={"video": "film.mp4"})`;

export function Attach({ onClose }: { readonly onClose: () => void }) {
    const dialog = useRef<HTMLDialogElement>(null);
    useEffect(() => dialog.current?.showModal(), []);
    const socket = location.origin.replace(/^http/, "ws");
    return (
        <dialog
            ref={dialog}
            className="attach"
            aria-labelledby="attach-title"
            onClose={onClose}
            // A click beside it, which the dialog hears as one on itself.
            onClick={(event) => event.target === dialog.current && dialog.current?.close()}
        >
            <div className="attach-body">
                <header className="attach-head">
                    <h2 id="attach-title">Attach your model</h2>
                    <button type="button" className="button icon-button quiet" aria-label="Close" onClick={() => dialog.current?.close()}>
                        <CloseIcon />
                    </button>
                </header>
                <p>
                    A worker is a WebSocket client: it takes an offer, says how far it is, uploads the film, says <code>done</code>. This one does the
                    least there is.
                </p>
                <Copyable label="worker.py" text={WORKER} />
                <p>Start the server without its reference worker, and yours beside it:</p>
                <Copyable
                    label="Two terminals"
                    text={`rushes demo --no-worker\n\npip install websockets\npython3 worker.py ${socket} "$(rushes token --role worker --ttl 1d)"`}
                />
                <p className="muted">
                    Run <code>rushes token</code> where the demo runs, or name the folder with its secret: <code>--data rushes-data</code>. Live previews are binary messages of one
                    header and a picture. Reconnecting, cancelling and handing work back are in <code>examples/worker.py</code>, everything else in{" "}
                    <code>spec/protocol.md</code>, section 7.
                </p>
            </div>
        </dialog>
    );
}
