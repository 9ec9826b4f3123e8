// Four prompts that show what the reference renderer knows: a landscape, the sea, a city, space. The pictures are its own.

import aurora from "./pictures/aurora.webp";
import city from "./pictures/city.webp";
import planet from "./pictures/planet.webp";
import sunset from "./pictures/sunset.webp";

export interface Example {
    readonly title: string;
    readonly prompt: string;
    readonly seed: string;
    readonly picture: string;
}

export const EXAMPLES: readonly [Example, Example, Example, Example] = [
    { title: "Golden lake", prompt: "A golden sunset over a calm mountain lake, the camera drifting slowly left", seed: "7", picture: sunset },
    { title: "Northern lights", prompt: "Aurora over a snowy pine forest at night, calm water below", seed: "21", picture: aurora },
    { title: "Neon rain", prompt: "A cyberpunk city skyline at night in the rain, flying forward fast", seed: "5", picture: city },
    { title: "Ringed giant", prompt: "A glowing planet in deep space before a violet nebula, slow and calm", seed: "3", picture: planet },
];
