import { describe, expect, it } from "vitest";
import { SseParser, type SseEvent } from "../src/sse.ts";
import { randomOf, SEED } from "./support.ts";

const parse = (...pieces: string[]): SseEvent[] => {
    const parser = new SseParser();
    return pieces.flatMap((piece) => parser.push(piece).events);
};

describe("a stream of events", () => {
    it.each<[string, string[], SseEvent[]]>([
        ["one event", ["id: k:1\ndata: a\n\n"], [{ name: "message", data: "a", id: "k:1" }]],
        ["CRLF", ["data: a\r\nid: 1\r\n\r\n"], [{ name: "message", data: "a", id: "1" }]],
        ["CRLF cut between its halves", ["data: a\r", "\n\r", "\ndata: b\n\n"], [{ name: "message", data: "a" }, { name: "message", data: "b" }]],
        ["CR alone", ["data: a\r\rdata: b\r\r", "x"], [{ name: "message", data: "a" }, { name: "message", data: "b" }]],
        ["comments", [": ok\n\n:\ndata: a\n\n"], [{ name: "message", data: "a" }]],
        ["several lines of data", ["data: a\ndata:\ndata:  b\n\n"], [{ name: "message", data: "a\n\n b" }]],
        ["a name", ["event: done\ndata: {}\n\ndata: a\n\n"], [{ name: "done", data: "{}" }, { name: "message", data: "a" }]],
        ["a name without data, which is nothing", ["event: done\n\ndata: a\n\n"], [{ name: "message", data: "a" }]],
        ["an id that is not inherited", ["id: 1\ndata: a\n\ndata: b\n\n"], [{ name: "message", data: "a", id: "1" }, { name: "message", data: "b" }]],
        ["fields nobody knows, and one without a colon", ["flavour: x\ndata\n\n"], [{ name: "message", data: "" }]],
        ["nothing that is incomplete", ["data: a\n"], []],
    ])("reads %s", (_, pieces, events) => expect(parse(...pieces)).toEqual(events));

    it("tells the wait the server asks for", () => {
        const parser = new SseParser();
        expect(parser.push("retry: 1500\n: bye\n\n").retryMs).toBe(1_500);
        expect(parser.push("retry: soon\n\n").retryMs).toBeUndefined();
    });

    it("refuses a line without an end", () => {
        expect(() => new SseParser().push("x".repeat(1_048_577))).toThrow(RangeError);
    });

    it(`reads the same however it is cut (SEED=${SEED})`, () => {
        const random = randomOf(SEED);
        const text = "retry: 9\n: ok\n\nid: k:1\r\ndata: {\"a\":\"ü🎬\"}\r\n\r\nevent: done\rdata: x\r\ndata: y\n\n: keep\n\ndata: end\n\n";
        const whole = parse(text);
        expect(whole).toHaveLength(3);
        for (let round = 0; round < 300; round += 1) {
            const pieces: string[] = [];
            for (let at = 0; at < text.length; ) {
                const size = 1 + Math.floor(random() * 12);
                pieces.push(text.slice(at, at + size));
                at += size;
            }
            expect(parse(...pieces)).toEqual(whole);
        }
    });
});
