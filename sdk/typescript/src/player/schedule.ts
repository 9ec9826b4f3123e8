// Which picture is shown when. Pure: pictures come decoded, times come in, and what is to be drawn and to be closed comes
// out. `player.ts` draws.

/**
 * `progressive`: plays forward once, for models that append. `refine`: plays in a loop what there is, for models that sharpen
 * all pictures at each step. `latest`: the newest at once, for tiles.
 */
export type Mode = "progressive" | "refine" | "latest";

/** A decoded picture and its place. */
export interface Picture<Image> {
    readonly fence: number;
    readonly index: number;
    readonly revision: number;
    /** No other will come. */
    readonly isLast: boolean;
    readonly image: Image;
}

export interface Rules {
    readonly mode: Mode;
    /** Pictures before it starts to move: 5 to 10 are half a second, which hides the jitter of a generator. */
    readonly startAt: number;
    /** Between two pictures, in milliseconds. */
    readonly intervalMs: number;
    /** Pictures held decoded at most; one of 854 x 480 is 1.6 MB. */
    readonly heldMax: number;
}

/** Everything that is known. Pictures are sorted by index; each index once. */
export interface Schedule<Image> {
    readonly rules: Rules;
    readonly held: readonly Picture<Image>[];
    /** What is on the screen; it stays there when nothing else comes. */
    readonly shown: { readonly fence: number; readonly index: number; readonly revision: number } | null;
    /** The greatest fence seen: what an earlier worker still sends is of the past. */
    readonly fence: number;
    readonly isMoving: boolean;
    readonly hasEnded: boolean;
    /** Not before this time; null while nothing was shown. */
    readonly nextAt: number | null;
    /** In `refine`, only each so many-th index is kept, so that a long film fits. */
    readonly stride: number;
}

export interface Step<Image> {
    readonly schedule: Schedule<Image>;
    /** To be drawn now. */
    readonly show: Image | null;
    /** To be closed, after drawing. */
    readonly close: readonly Image[];
}

export function beginSchedule<Image>(rules: Rules): Schedule<Image> {
    return { rules, held: [], shown: null, fence: 0, isMoving: false, hasEnded: false, nextAt: null, stride: 1 };
}

/** Is it worth decoding? */
export function wants(schedule: Schedule<unknown>, place: { fence: number; index: number; revision: number }): boolean {
    const { shown, fence, rules, stride } = schedule;
    if (place.fence < fence) return false;
    if (place.fence > fence || rules.mode === "latest") return true;
    if (place.index % stride !== 0) return false;
    const known = schedule.held.find(({ index }) => index === place.index);
    if (known !== undefined) return place.revision > known.revision;
    if (rules.mode === "refine" || shown === null || shown.fence < place.fence) return true;
    // What was played is over, but what stands on the screen may become sharper.
    return place.index > shown.index || (place.index === shown.index && place.revision > shown.revision);
}

/** A decoded picture came. */
export function offer<Image>(schedule: Schedule<Image>, picture: Picture<Image>): Step<Image> {
    if (!wants(schedule, picture)) return { schedule, show: null, close: [picture.image] };
    const isAnew = picture.fence > schedule.fence;
    const replaces = isAnew || schedule.rules.mode === "latest";
    // Another worker draws it anew: what is on the screen stays until its first pictures can move.
    const kept = replaces ? [] : schedule.held.filter(({ index }) => index !== picture.index);
    const held = [...kept, picture].sort((a, b) => a.index - b.index);
    const next: Schedule<Image> = {
        ...schedule,
        held,
        fence: picture.fence,
        isMoving: isAnew ? false : schedule.isMoving,
        hasEnded: picture.isLast || (schedule.hasEnded && !isAnew),
        stride: isAnew ? 1 : schedule.stride,
    };
    return thin(next, schedule.held.filter((old) => !held.includes(old)).map(({ image }) => image));
}

/** Time passed: shows what is due. */
export function tick<Image>(schedule: Schedule<Image>, now: number): Step<Image> {
    const { rules, held, shown, hasEnded } = schedule;
    const nothing = { schedule, show: null, close: [] };
    if (held.length === 0) return nothing;
    const isMoving = schedule.isMoving || hasEnded || rules.mode === "latest" || held.length >= rules.startAt;
    const sharper = held.find((picture) => shown !== null && isSharper(picture, shown));
    if (!isMoving) {
        // Before it moves, the first picture stands there: better than an empty frame.
        const first = held[0] as Picture<Image>;
        if (shown === null || sharper === first) return present(schedule, first, now, false);
        return nothing;
    }
    if (sharper !== undefined && rules.mode === "progressive") return present({ ...schedule, isMoving }, sharper, schedule.nextAt ?? now, true);
    if (schedule.nextAt !== null && now < schedule.nextAt) return { ...nothing, schedule: { ...schedule, isMoving } };
    const next = following(schedule);
    return next === undefined ? { ...nothing, schedule: { ...schedule, isMoving } } : present({ ...schedule, isMoving }, next, now, true);
}

/** When to call `tick` again: null when only another picture changes anything. */
export function due(schedule: Schedule<unknown>): number | null {
    if (schedule.held.length === 0) return null;
    if (!schedule.isMoving || schedule.nextAt === null) return 0;
    return following(schedule) === undefined ? null : schedule.nextAt;
}

/** Gives everything back. */
export function endSchedule<Image>(schedule: Schedule<Image>): Step<Image> {
    return { schedule: { ...schedule, held: [] }, show: null, close: schedule.held.map(({ image }) => image) };
}

function following<Image>(schedule: Schedule<Image>): Picture<Image> | undefined {
    const { held, shown, rules } = schedule;
    if (rules.mode === "latest" || shown === null || shown.fence < schedule.fence) return held[0];
    const next = held.find(({ index }) => index > shown.index);
    // Alone it need not be drawn again and again, only when it became sharper.
    if (next !== undefined || rules.mode === "progressive") return next;
    return held.length > 1 || isSharper(held[0] as Picture<Image>, shown) ? held[0] : undefined;
}

function present<Image>(schedule: Schedule<Image>, picture: Picture<Image>, now: number, move: boolean): Step<Image> {
    const { rules, stride } = schedule;
    const { fence, index, revision, image } = picture;
    const shown = { fence, index, revision };
    // A late tick does not shift all that follow, and a long pause is not made up for.
    const interval = rules.intervalMs * stride;
    const planned = schedule.nextAt === null || now - schedule.nextAt > interval ? now : schedule.nextAt;
    const nextAt = rules.mode === "progressive" && schedule.shown?.index === index ? schedule.nextAt : planned + interval;
    if (rules.mode === "refine" || !move) return { schedule: { ...schedule, shown, nextAt }, show: image, close: [] };
    // Played is over: the canvas keeps what it shows.
    const isOver = (one: Picture<Image>) => one.index <= index || rules.mode === "latest";
    return {
        schedule: { ...schedule, shown, nextAt, held: schedule.held.filter((one) => !isOver(one)) },
        show: image,
        close: schedule.held.filter(isOver).map((one) => one.image),
    };
}

function isSharper(picture: { fence: number; index: number; revision: number }, shown: { fence: number; index: number; revision: number }): boolean {
    return picture.fence === shown.fence && picture.index === shown.index && picture.revision > shown.revision;
}

/** Keeps the bound: playing forward drops the oldest, a loop drops every second one. */
function thin<Image>(schedule: Schedule<Image>, close: readonly Image[]): Step<Image> {
    const { rules, held } = schedule;
    if (held.length <= rules.heldMax) return { schedule, show: null, close };
    const stride = rules.mode === "refine" ? schedule.stride * 2 : schedule.stride;
    const isKept = (picture: Picture<Image>, at: number) =>
        rules.mode === "refine" ? picture.index % stride === 0 : at >= held.length - rules.heldMax;
    const dropped = held.filter((picture, at) => !isKept(picture, at)).map(({ image }) => image);
    return thin({ ...schedule, stride, held: held.filter(isKept) }, [...close, ...dropped]);
}
