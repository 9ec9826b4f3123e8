//! What a prompt means here: a closed set of choices. Owns the vocabulary; leaves drawing to `paint`.
//!
//! Words choose; what they leave open is chosen by the hash of prompt and seed, so every prompt gives something and the
//! same prompt and seed always give the same.

use crate::prompt::{self, Chance};

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$each])* $variant),+ }

        impl $name {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for this choice.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

choice! {
    /// Which world is drawn.
    Kind {
        /// Mountains, usually with water before them.
        Landscape = "landscape",
        /// A planet before stars and clouds of gas.
        Space = "space",
        /// Open water to the horizon.
        Sea = "sea",
        /// Towers at night.
        City = "city",
    }
}

choice! {
    /// What covers the ground.
    Ground {
        /// Rock, snow on the heights, firs below.
        Alpine = "alpine",
        /// Green to the tops.
        Forest = "forest",
        /// Firs among gold and red.
        Autumn = "autumn",
        /// Snow everywhere.
        Arctic = "arctic",
        /// Sand and red rock.
        Desert = "desert",
        /// A dream in magenta and blue.
        Neon = "neon",
    }
}

choice! {
    /// Where the light comes from.
    Hour {
        /// Pale and rosy, the sun just up.
        Dawn = "dawn",
        /// Blue sky.
        Day = "day",
        /// Gold and violet, the sun low.
        Sunset = "sunset",
        /// After the sun, before the stars.
        Dusk = "dusk",
        /// Stars and a moon.
        Night = "night",
    }
}

choice! {
    /// What is in the air.
    Weather {
        /// A few high clouds.
        Clear = "clear",
        /// Clouds.
        Cloudy = "cloudy",
        /// Fog in the valleys.
        Mist = "mist",
        /// Rain.
        Rain = "rain",
        /// Falling snow.
        Snow = "snow",
    }
}

choice! {
    /// How fast things move.
    Pace {
        /// Slow.
        Calm = "calm",
        /// As one walks.
        Steady = "steady",
        /// As one flies.
        Fast = "fast",
    }
}

choice! {
    /// How the camera moves.
    Camera {
        /// Into the picture.
        Forward = "forward",
        /// To the left.
        Left = "left",
        /// To the right.
        Right = "right",
        /// Upward.
        Rise = "rise",
    }
}

/// What was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// Which world.
    pub kind: Kind,
    /// What covers the ground.
    pub ground: Ground,
    /// The light.
    pub hour: Hour,
    /// The air.
    pub weather: Weather,
    /// Northern lights in a dark sky.
    pub aurora: bool,
    /// Water in the foreground of a landscape.
    pub water: bool,
    /// Trees where they can grow.
    pub trees: bool,
    /// How fast.
    pub pace: Pace,
    /// Which way.
    pub camera: Camera,
    /// The prompt's words that meant something, in the vocabulary's order.
    pub understood: Vec<&'static str>,
    /// Chooses every detail.
    pub seed: u64,
}

type Meanings<T> = &'static [(&'static str, T)];

const KINDS: Meanings<Kind> = &[
    ("city", Kind::City),
    ("skyline", Kind::City),
    ("skyscraper", Kind::City),
    ("street", Kind::City),
    ("tokyo", Kind::City),
    ("cyberpunk", Kind::City),
    ("downtown", Kind::City),
    ("metropolis", Kind::City),
    ("cities", Kind::City),
    ("saturn", Kind::Space),
    ("jupiter", Kind::Space),
    ("mars", Kind::Space),
    ("planet", Kind::Space),
    ("orbit", Kind::Space),
    ("asteroid", Kind::Space),
    ("nebula", Kind::Space),
    ("galaxy", Kind::Space),
    ("cosmos", Kind::Space),
    ("cosmic", Kind::Space),
    ("universe", Kind::Space),
    ("space", Kind::Space),
    ("mountain", Kind::Landscape),
    ("lake", Kind::Landscape),
    ("valley", Kind::Landscape),
    ("fjord", Kind::Landscape),
    ("sea", Kind::Sea),
    ("ocean", Kind::Sea),
    ("boat", Kind::Sea),
    ("ship", Kind::Sea),
    ("sail", Kind::Sea),
    ("sailing", Kind::Sea),
    ("sailboat", Kind::Sea),
    ("wave", Kind::Sea),
    ("beach", Kind::Sea),
    ("harbor", Kind::Sea),
    ("harbour", Kind::Sea),
];
const GROUNDS: Meanings<Ground> = &[
    ("neon", Ground::Neon),
    ("synthwave", Ground::Neon),
    ("vaporwave", Ground::Neon),
    ("retro", Ground::Neon),
    ("dream", Ground::Neon),
    ("purple", Ground::Neon),
    ("magenta", Ground::Neon),
    ("pink", Ground::Neon),
    ("alien", Ground::Neon),
    ("desert", Ground::Desert),
    ("dune", Ground::Desert),
    ("canyon", Ground::Desert),
    ("mesa", Ground::Desert),
    ("sahara", Ground::Desert),
    ("sand", Ground::Desert),
    ("mars", Ground::Desert),
    ("arctic", Ground::Arctic),
    ("winter", Ground::Arctic),
    ("ice", Ground::Arctic),
    ("icy", Ground::Arctic),
    ("frozen", Ground::Arctic),
    ("antarctica", Ground::Arctic),
    ("snowy", Ground::Arctic),
    ("glacier", Ground::Arctic),
    ("norway", Ground::Arctic),
    ("iceland", Ground::Arctic),
    ("snow", Ground::Arctic),
    ("autumn", Ground::Autumn),
    ("fall", Ground::Autumn),
    ("october", Ground::Autumn),
    ("forest", Ground::Forest),
    ("jungle", Ground::Forest),
    ("green", Ground::Forest),
    ("spring", Ground::Forest),
    ("summer", Ground::Forest),
    ("meadow", Ground::Forest),
    ("wood", Ground::Forest),
    ("alps", Ground::Alpine),
    ("alpine", Ground::Alpine),
    ("peak", Ground::Alpine),
    ("himalaya", Ground::Alpine),
];
const HOURS: Meanings<Hour> = &[
    ("sunset", Hour::Sunset),
    ("golden", Hour::Sunset),
    ("evening", Hour::Sunset),
    ("orange", Hour::Sunset),
    ("warm", Hour::Sunset),
    ("dusk", Hour::Dusk),
    ("twilight", Hour::Dusk),
    ("synthwave", Hour::Dusk),
    ("vaporwave", Hour::Dusk),
    ("dawn", Hour::Dawn),
    ("sunrise", Hour::Dawn),
    ("morning", Hour::Dawn),
    ("night", Hour::Night),
    ("midnight", Hour::Night),
    ("moon", Hour::Night),
    ("moonlit", Hour::Night),
    ("moonlight", Hour::Night),
    ("star", Hour::Night),
    ("starry", Hour::Night),
    ("aurora", Hour::Night),
    ("borealis", Hour::Night),
    ("dark", Hour::Night),
    ("northern", Hour::Night),
    ("day", Hour::Day),
    ("noon", Hour::Day),
    ("sunny", Hour::Day),
    ("daylight", Hour::Day),
    ("blue", Hour::Day),
    ("summer", Hour::Day),
];
const WEATHERS: Meanings<Weather> = &[
    ("rain", Weather::Rain),
    ("rainy", Weather::Rain),
    ("storm", Weather::Rain),
    ("stormy", Weather::Rain),
    ("thunder", Weather::Rain),
    ("wet", Weather::Rain),
    ("snowfall", Weather::Snow),
    ("snowing", Weather::Snow),
    ("blizzard", Weather::Snow),
    ("snowstorm", Weather::Snow),
    ("snowflake", Weather::Snow),
    ("mist", Weather::Mist),
    ("misty", Weather::Mist),
    ("fog", Weather::Mist),
    ("foggy", Weather::Mist),
    ("haze", Weather::Mist),
    ("cloud", Weather::Cloudy),
    ("cloudy", Weather::Cloudy),
    ("overcast", Weather::Cloudy),
    ("dramatic", Weather::Cloudy),
    ("clear", Weather::Clear),
    ("calm", Weather::Clear),
    ("starry", Weather::Clear),
    ("sunny", Weather::Clear),
];
const PACES: Meanings<Pace> = &[
    ("fast", Pace::Fast),
    ("racing", Pace::Fast),
    ("speed", Pace::Fast),
    ("drone", Pace::Fast),
    ("flying", Pace::Fast),
    ("flight", Pace::Fast),
    ("timelapse", Pace::Fast),
    ("calm", Pace::Calm),
    ("slow", Pace::Calm),
    ("peaceful", Pace::Calm),
    ("serene", Pace::Calm),
    ("quiet", Pace::Calm),
    ("still", Pace::Calm),
];
const CAMERAS: Meanings<Camera> = &[
    ("forward", Camera::Forward),
    ("toward", Camera::Forward),
    ("towards", Camera::Forward),
    ("into", Camera::Forward),
    ("flying", Camera::Forward),
    ("dolly", Camera::Forward),
    ("left", Camera::Left),
    ("right", Camera::Right),
    ("pan", Camera::Right),
    ("panning", Camera::Right),
    ("rising", Camera::Rise),
    ("crane", Camera::Rise),
    ("ascending", Camera::Rise),
    ("aerial", Camera::Rise),
];
const WATERS: Meanings<bool> = &[
    ("lake", true),
    ("water", true),
    ("reflection", true),
    ("river", true),
    ("fjord", true),
    ("pond", true),
    ("mirror", true),
    ("desert", false),
    ("dune", false),
    ("canyon", false),
    ("mesa", false),
    ("meadow", false),
    ("valley", false),
];
const AURORAS: Meanings<bool> = &[("aurora", true), ("borealis", true), ("northern", true), ("polar", true)];
const TREES: Meanings<bool> = &[
    ("tree", true),
    ("pine", true),
    ("fir", true),
    ("forest", true),
    ("wood", true),
    ("jungle", true),
    ("desert", false),
    ("dune", false),
    ("bare", false),
    ("canyon", false),
];

/// Collects the words that meant something while they are looked up.
struct Reading {
    words: Vec<String>,
    understood: Vec<&'static str>,
}

impl Reading {
    fn find<T: Copy>(&mut self, meanings: Meanings<T>) -> Option<T> {
        let &(word, meaning) = meanings.iter().find(|(word, _)| prompt::says(&self.words, word))?;
        if !self.understood.contains(&word) {
            self.understood.push(word);
        }
        Some(meaning)
    }
}

impl Scene {
    /// Reads a prompt. Never fails: what is not understood is chosen.
    #[must_use]
    pub fn understand(prompt: &str, seed: u64) -> Self {
        let mut reading = Reading { words: prompt::words(prompt), understood: Vec::new() };
        let mut chance = Chance::new(prompt::hash(prompt) ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        // All chances are drawn whether used or not, so that one more word changes only what it names.
        let open_kind =
            chance.pick(&[Kind::Landscape, Kind::Landscape, Kind::Landscape, Kind::Space, Kind::Sea, Kind::City]);
        let open_ground = chance.pick(&[
            Ground::Alpine,
            Ground::Forest,
            Ground::Autumn,
            Ground::Arctic,
            Ground::Desert,
            Ground::Neon,
        ]);
        let open_hour = chance.pick(&[Hour::Sunset, Hour::Sunset, Hour::Dawn, Hour::Day, Hour::Dusk, Hour::Night]);
        let open_weather = chance.pick(&[Weather::Clear, Weather::Clear, Weather::Cloudy, Weather::Mist]);
        let open_pace = chance.pick(&[Pace::Calm, Pace::Steady]);
        let open_camera = chance.pick(&[Camera::Forward, Camera::Left, Camera::Right]);
        let open_aurora = chance.pick(&[true, false, false]);

        let ground = reading.find(GROUNDS);
        let water = reading.find(WATERS);
        let aurora = reading.find(AURORAS);
        let trees = reading.find(TREES);
        let hour = reading.find(HOURS);
        let any_land = ground.is_some() || water.is_some() || trees.is_some();
        let open_kind = if any_land || aurora.is_some() { Kind::Landscape } else { open_kind };
        let kind = reading.find(KINDS).unwrap_or(open_kind);
        let weather = reading.find(WEATHERS);
        let hour = hour.unwrap_or(if kind == Kind::City { Hour::Night } else { open_hour });
        let open_ground = match open_ground {
            // A desert or a dream is a lot to claim unasked where something else was named.
            Ground::Desert | Ground::Neon if any_land || aurora.is_some() => Ground::Alpine,
            Ground::Desert | Ground::Forest | Ground::Autumn if hour == Hour::Night => Ground::Arctic,
            open => open,
        };
        let ground = ground.unwrap_or(open_ground);
        Self {
            kind,
            ground,
            hour,
            weather: weather.unwrap_or(if kind == Kind::City { Weather::Rain } else { open_weather }),
            aurora: aurora
                .unwrap_or(kind == Kind::Landscape && hour == Hour::Night && ground == Ground::Arctic && open_aurora),
            water: water.unwrap_or(ground != Ground::Desert),
            trees: trees.unwrap_or(!matches!(ground, Ground::Desert | Ground::Neon)),
            pace: reading.find(PACES).unwrap_or(open_pace),
            camera: reading.find(CAMERAS).unwrap_or(open_camera),
            understood: reading.understood,
            seed: chance.next(),
        }
    }

    /// Everything understood or chosen, for people: keys and values.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
        let mut pairs = vec![("kind", self.kind.name().to_owned()), ("hour", self.hour.name().to_owned())];
        if self.kind == Kind::Landscape {
            pairs.push(("ground", self.ground.name().to_owned()));
            pairs.push(("water", yes(self.water)));
            pairs.push(("trees", yes(self.trees)));
            pairs.push(("aurora", yes(self.aurora)));
        }
        pairs.extend([
            ("weather", self.weather.name().to_owned()),
            ("pace", self.pace.name().to_owned()),
            ("camera", self.camera.name().to_owned()),
            ("understood", self.understood.join(", ")),
        ]);
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_what_is_drawn() {
        let scene = Scene::understand("Sunset over a misty mountain lake, slow", 1);
        assert_eq!((scene.kind, scene.hour, scene.weather), (Kind::Landscape, Hour::Sunset, Weather::Mist));
        assert_eq!((scene.water, scene.pace), (true, Pace::Calm));
        assert_eq!(scene.understood, ["lake", "sunset", "mountain", "mist", "slow"]);
        let scene = Scene::understand("aurora over arctic pine forest at night", 1);
        assert_eq!((scene.ground, scene.hour, scene.aurora, scene.trees), (Ground::Arctic, Hour::Night, true, true));
        assert_eq!(Scene::understand("city in the rain", 0).kind, Kind::City);
        assert_eq!(Scene::understand("a ringed planet", 0).kind, Kind::Space);
        assert!(!Scene::understand("dunes", 0).water);
    }

    #[test]
    fn unknown_words_still_give_a_scene_and_the_same_one() {
        for prompt in ["xyzzy", "日本語", "!!!", "a b c"] {
            assert_eq!(Scene::understand(prompt, 7), Scene::understand(prompt, 7));
        }
        assert_ne!(Scene::understand("xyzzy", 7).seed, Scene::understand("xyzzy", 8).seed);
    }
}
