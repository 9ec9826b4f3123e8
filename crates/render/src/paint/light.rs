//! The light of each hour and the colours of each ground: numbers to look at, tuned by eye.

use crate::colour::Rgb;
use crate::scene::{Ground, Hour, Scene, Weather};

/// What shines, from where, and through what.
#[derive(Debug, Clone)]
pub(super) struct Light {
    /// The sky from the horizon up, at equal steps.
    pub(super) sky: [Rgb; 5],
    /// Light of the sun or moon on the ground.
    pub(super) sun: Rgb,
    /// The disc itself.
    pub(super) disc: Rgb,
    /// The glow around it.
    pub(super) halo: Rgb,
    /// How high the disc stands, as a slope above the horizon.
    pub(super) elevation: f32,
    /// Radius of the disc, as a slope.
    pub(super) radius: f32,
    /// Light from the whole sky.
    pub(super) ambient: Rgb,
    /// Clouds in light and in shadow.
    pub(super) clouds: [Rgb; 2],
    /// How many stars are seen, 0 to 1.
    pub(super) stars: f32,
    /// Distance at which two thirds of the view is haze.
    pub(super) haze: f32,
    /// Share of the sky under clouds.
    pub(super) cover: f32,
    /// Thickness of fog in the valleys.
    pub(super) fog: f32,
    /// Exposure of the film.
    pub(super) exposure: f32,
}

fn hexes(codes: [u32; 5]) -> [Rgb; 5] {
    codes.map(Rgb::hex)
}

impl Light {
    pub(super) fn of(scene: &Scene) -> Self {
        let mut light = Self::at(scene.hour);
        if scene.ground == Ground::Neon {
            light.sky = hexes([0xff7a7a, 0xd0458c, 0x6f2590, 0x2c1468, 0x0e0a38]);
            light.halo = Rgb::hex(0xff6a90) * 0.8;
            light.ambient = Rgb::hex(0x5a3fd0) * 0.55;
            light.sun = Rgb::hex(0xff6aa0) * 2.0;
            light.disc = Rgb::hex(0xffc060) * 2.6;
            light.clouds = [Rgb::hex(0xff8ac0), Rgb::hex(0x5a2a9a)];
            light.stars = light.stars.max(0.5);
            (light.elevation, light.radius) = (0.13, 0.075);
            (light.haze, light.fog) = (2_600.0, 0.22);
        }
        if scene.ground == Ground::Desert && matches!(scene.hour, Hour::Day | Hour::Sunset) {
            light.haze *= 0.75;
        }
        match scene.weather {
            Weather::Clear => {}
            Weather::Cloudy => light.cover += 0.22,
            Weather::Mist => {
                light.fog = 0.80;
                // Air that is thin already, as at dawn, would become a white wall.
                light.haze = (light.haze * 0.7).max(1_350.0);
                light.exposure *= 0.84;
            }
            Weather::Rain | Weather::Snow => {
                light.cover += 0.4;
                light.haze *= 0.5;
                light.stars *= 0.2;
                light.fog = 0.5;
                light.dull(if scene.weather == Weather::Rain { 0.55 } else { 0.35 });
            }
        }
        if scene.aurora {
            light.stars = light.stars.max(0.8);
            light.cover *= 0.4;
            light.ambient += Rgb::new(0.010, 0.085, 0.060);
        }
        light
    }

    /// Greys everything, as under thick clouds.
    fn dull(&mut self, part: f32) {
        let grey = |colour: Rgb| colour.mix(Rgb::new(0.86, 0.95, 1.08) * colour.luma(), part) * (1.0 - 0.25 * part);
        self.sky = self.sky.map(grey);
        self.clouds = self.clouds.map(grey);
        self.halo = grey(self.halo) * (1.0 - part);
        self.sun = grey(self.sun) * (1.0 - 0.6 * part);
        self.disc = self.disc * (1.0 - 0.8 * part);
    }

    /// Heavy clouds, dark from below, with a pale strip of sky left over the horizon.
    pub(super) fn storm(&mut self) {
        self.cover = self.cover.max(0.95);
        self.clouds = [self.clouds[0] * 0.62, self.clouds[1] * 0.34];
        for (step, colour) in self.sky.iter_mut().enumerate() {
            *colour = *colour * (0.9 - 0.13 * step as f32);
        }
        self.ambient = self.ambient * 0.75;
        self.haze *= 1.4;
        // No sun shines through that.
        (self.disc, self.radius) = (Rgb::BLACK, 0.0);
    }

    fn at(hour: Hour) -> Self {
        match hour {
            Hour::Sunset => Self::sunset(),
            Hour::Dawn => Self::dawn(),
            Hour::Day => Self::day(),
            Hour::Dusk => Self::dusk(),
            Hour::Night => Self::night(),
        }
    }

    fn sunset() -> Self {
        Self {
            sky: hexes([0xffb36b, 0xf58a6e, 0xb9628a, 0x6a4a90, 0x33306e]),
            sun: Rgb::hex(0xffa468) * 3.0,
            disc: Rgb::hex(0xffe0a0) * 9.0,
            halo: Rgb::hex(0xff9a50),
            elevation: 0.20,
            radius: 0.034,
            ambient: Rgb::hex(0x7a74c0) * 0.62,
            clouds: [Rgb::hex(0xffb78c) * 1.1, Rgb::hex(0x7a4f7e)],
            stars: 0.12,
            haze: 2_600.0,
            cover: 0.42,
            fog: 0.2,
            exposure: 1.0,
        }
    }

    fn dawn() -> Self {
        Self {
            sky: hexes([0xffe0bd, 0xfac9b8, 0xd9b8cf, 0x9db0dd, 0x6288c4]),
            sun: Rgb::hex(0xffcfa8) * 2.2,
            disc: Rgb::hex(0xfff0d0) * 8.0,
            halo: Rgb::hex(0xffc890),
            elevation: 0.15,
            radius: 0.030,
            ambient: Rgb::hex(0xa8b4d8) * 0.8,
            clouds: [Rgb::hex(0xffe2d0) * 1.1, Rgb::hex(0xb09ab8)],
            stars: 0.0,
            haze: 1_500.0,
            cover: 0.40,
            fog: 0.55,
            exposure: 0.95,
        }
    }

    fn day() -> Self {
        Self {
            sky: hexes([0xd2e8f5, 0xa6d0f0, 0x6fb0ea, 0x3f86d4, 0x2264b8]),
            sun: Rgb::hex(0xfff0d8) * 2.9,
            disc: Rgb::hex(0xfffaf0) * 12.0,
            halo: Rgb::hex(0xfff0d0) * 0.5,
            elevation: 0.62,
            radius: 0.026,
            ambient: Rgb::hex(0xa8c8f0) * 0.8,
            clouds: [Rgb::hex(0xffffff) * 1.15, Rgb::hex(0x9fb2c8)],
            stars: 0.0,
            haze: 3_000.0,
            cover: 0.45,
            fog: 0.15,
            exposure: 0.95,
        }
    }

    fn dusk() -> Self {
        Self {
            sky: hexes([0xf0987c, 0xa86a90, 0x5a4f90, 0x28346e, 0x101a42]),
            sun: Rgb::hex(0xc890b8) * 0.75,
            disc: Rgb::BLACK,
            halo: Rgb::hex(0xff8a68) * 0.8,
            elevation: -0.02,
            radius: 0.0,
            ambient: Rgb::hex(0x6a74b8) * 0.8,
            clouds: [Rgb::hex(0xd88a98), Rgb::hex(0x3c3a6a)],
            stars: 0.45,
            haze: 2_000.0,
            cover: 0.38,
            fog: 0.4,
            exposure: 1.1,
        }
    }

    fn night() -> Self {
        Self {
            sky: hexes([0x24485f, 0x183552, 0x0f2444, 0x0a1733, 0x060d22]),
            sun: Rgb::hex(0xa8c4e8) * 0.55,
            disc: Rgb::hex(0xfff6e0) * 2.2,
            halo: Rgb::hex(0x6a90b8) * 0.35,
            elevation: 0.30,
            radius: 0.030,
            ambient: Rgb::hex(0x4a6a98) * 0.42,
            clouds: [Rgb::hex(0x4a6484), Rgb::hex(0x13223a)],
            stars: 1.0,
            haze: 2_200.0,
            cover: 0.34,
            fog: 0.3,
            exposure: 1.25,
        }
    }
}

/// The colours of the ground.
#[derive(Debug, Clone)]
pub(super) struct Soil {
    pub(super) rock: Rgb,
    pub(super) scree: Rgb,
    pub(super) plants: [Rgb; 2],
    pub(super) shore: Rgb,
    pub(super) snow: Rgb,
    /// Height from which snow lies, in map units.
    pub(super) snow_line: f32,
    pub(super) trees: [Rgb; 2],
    pub(super) water: Rgb,
}

impl Soil {
    pub(super) fn of(scene: &Scene) -> Self {
        let snow = Rgb::hex(0xf4f8ff);
        let base = Self {
            rock: Rgb::hex(0x6d6a6c),
            scree: Rgb::hex(0x8a8378),
            plants: [Rgb::hex(0x41562e), Rgb::hex(0x6f7a3e)],
            shore: Rgb::hex(0x8d8168),
            snow,
            snow_line: 92.0,
            trees: [Rgb::hex(0x1d3524), Rgb::hex(0x2e4a2c)],
            water: Rgb::hex(0x12303a),
        };
        match scene.ground {
            Ground::Alpine => base,
            Ground::Forest => Self {
                plants: [Rgb::hex(0x2f5527), Rgb::hex(0x587c34)],
                rock: Rgb::hex(0x5d6256),
                snow_line: 170.0,
                trees: [Rgb::hex(0x17381f), Rgb::hex(0x35602c)],
                ..base
            },
            Ground::Autumn => Self {
                plants: [Rgb::hex(0x8a5a22), Rgb::hex(0xb8862f)],
                rock: Rgb::hex(0x6e655e),
                snow_line: 125.0,
                trees: [Rgb::hex(0x8a3a1a), Rgb::hex(0xc48a2a)],
                ..base
            },
            Ground::Arctic => Self {
                plants: [Rgb::hex(0xc8d6e4), Rgb::hex(0xe4ecf4)],
                scree: Rgb::hex(0xaab6c4),
                rock: Rgb::hex(0x5c6672),
                shore: Rgb::hex(0xd0dce6),
                snow_line: 6.0,
                trees: [Rgb::hex(0x24383c), Rgb::hex(0x3a5450)],
                water: Rgb::hex(0x0e2c40),
                ..base
            },
            Ground::Desert => Self {
                rock: Rgb::hex(0xa85c38),
                scree: Rgb::hex(0xc98a58),
                plants: [Rgb::hex(0xd8a468), Rgb::hex(0xe2b880)],
                shore: Rgb::hex(0xe0bc88),
                snow_line: 900.0,
                water: Rgb::hex(0x1f4a4c),
                ..base
            },
            Ground::Neon => Self {
                rock: Rgb::hex(0x8a4aa0),
                scree: Rgb::hex(0xb06ac0),
                plants: [Rgb::hex(0x3a3aa0), Rgb::hex(0x5a5ac0)],
                shore: Rgb::hex(0xe070c0),
                snow: Rgb::hex(0xffb0e8),
                snow_line: 105.0,
                trees: [Rgb::hex(0x24104a), Rgb::hex(0x3a1a6a)],
                water: Rgb::hex(0x1a0a48),
            },
        }
    }
}
