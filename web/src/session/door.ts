// How somebody gets in: a demo signs in one of two people by name; any other server wants a token.

import { RushesError, type GetToken } from "@rushes/client";
import { takeToken } from "../studio/address.ts";

/** The people of a demo. */
export const PEOPLE = ["ada", "grace"] as const;
export type Person = (typeof PEOPLE)[number];

/** Somebody who can go in. */
export type Pass =
    | { readonly kind: "demo"; readonly person: Person; readonly getToken: GetToken }
    | { readonly kind: "token"; readonly getToken: GetToken };

/** What stands at the door of this server: a pass, or the need of a token. */
export type Door = Pass | { readonly kind: "locked" };

const PERSON = "rushes.person";
const TOKEN = "rushes.token";

/** Whether, and as whom, this tab can go in. Rejects with a `RushesError` while the server does not answer. */
export async function lookAtDoor(): Promise<Door> {
    const given = takeToken();
    if (given !== null) sessionStorage.setItem(TOKEN, given);
    const token = sessionStorage.getItem(TOKEN);
    if (token !== null) return passOfToken(token);
    const person = PEOPLE.find((one) => one === sessionStorage.getItem(PERSON)) ?? PEOPLE[0];
    const first = await signIn(person);
    return first === null ? { kind: "locked" } : passOfPerson(person, first);
}

/** Goes in as another person of the demo. */
export function passOfPerson(person: Person, first?: string): Pass {
    sessionStorage.setItem(PERSON, person);
    let ready = first;
    const getToken = async () => {
        const token = ready ?? (await signIn(person));
        ready = undefined;
        if (token === null) throw new RushesError("unauthorized", "this server signs nobody in", false);
        return token;
    };
    return { kind: "demo", person, getToken };
}

/** Goes in with a token that was pasted or came with the address. It is kept for this tab only. */
export function passOfToken(token: string): Pass {
    sessionStorage.setItem(TOKEN, token);
    return { kind: "token", getToken: () => token };
}

/** Forgets the token of this tab. */
export function leave(): void {
    sessionStorage.removeItem(TOKEN);
}

/** A token for a person, or null where nobody is signed in by name. */
async function signIn(person: Person): Promise<string | null> {
    let answer: Response;
    try {
        answer = await fetch("/v1/demo/sign-in", {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ user: person }),
        });
    } catch (cause) {
        throw new RushesError("unreachable", "the server does not answer", true, { cause });
    }
    if (answer.status === 404) return null;
    const said = (await answer.json().catch(() => null)) as { token?: unknown; error?: { message?: string; hint?: string } } | null;
    if (answer.ok && typeof said?.token === "string") return said.token;
    const { message = `the server answered ${answer.status}`, hint } = said?.error ?? {};
    throw new RushesError("bad_answer", message, answer.status >= 500, { status: answer.status, ...(hint !== undefined && { hint }) });
}
