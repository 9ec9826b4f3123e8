// The network between the browser and the server: a relay on a port of its own, which can be cut and mended.

import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export class Network {
    url = "";
    readonly #open = new Set<Socket>();
    #target: URL;
    #isCut = false;
    readonly #server = createServer((from) => this.#relay(from));

    private constructor(target: string) {
        this.#target = new URL(target);
    }

    static async to(target: string): Promise<Network> {
        const network = new Network(target);
        await new Promise<void>((resolve) => network.#server.listen(0, "127.0.0.1", resolve));
        network.url = `http://127.0.0.1:${(network.#server.address() as AddressInfo).port}`;
        return network;
    }

    /** Ends what is open, and lets nothing through. */
    cut(): void {
        this.#isCut = true;
        for (const socket of this.#open) socket.destroy();
    }

    mend(): void {
        this.#isCut = false;
    }

    stop(): void {
        this.cut();
        this.#server.close();
    }

    #relay(from: Socket): void {
        from.on("error", () => {});
        if (this.#isCut) return void from.destroy();
        const to = connect(Number(this.#target.port), this.#target.hostname);
        for (const [one, other] of [[from, to], [to, from]] as const) {
            this.#open.add(one);
            one.on("error", () => {});
            one.on("close", () => {
                this.#open.delete(one);
                other.destroy();
            });
            one.pipe(other);
        }
    }
}
