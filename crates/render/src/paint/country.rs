//! The shape of the country: how high it is and where woods are, anywhere. Owns no map; `terrain` makes one.

use crate::lanes::Real;
use crate::noise::Noise;
use crate::prompt::Chance;
use crate::scene::{Ground, Scene};

/// Where things are: heights without colours.
pub(super) struct Country {
    pub(super) noise: Noise,
    ground: Ground,
    water: bool,
    lake: (f32, f32, f32),
    massif: (f32, f32),
}

impl Country {
    pub(super) fn new(scene: &Scene) -> Self {
        let mut chance = Chance::new(scene.seed ^ 0x7e44);
        Self {
            noise: Noise::new(scene.seed ^ 0x1a4d),
            ground: scene.ground,
            water: scene.water,
            lake: (chance.within(-60.0, 60.0), chance.within(250.0, 330.0), chance.within(175.0, 225.0)),
            massif: (chance.within(-160.0, 160.0), chance.within(0.85, 1.15)),
        }
    }

    /// 1 at the shore, less on the lake, more on land; without water everything is land.
    #[inline(always)]
    fn inland<R: Real>(&self, x: R, z: R) -> R {
        let (centre, across, deep) = self.lake;
        let (dx, dz) = ((x - centre) * (1.0 / across), (z - 70.0) * (1.0 / deep));
        let bays = self.noise.layers(x * 0.013 + 70.0, z * 0.013 + 20.0, 4) - 0.5;
        let inland = (dx * dx + dz * dz).root() + bays * 0.42;
        if self.water { inland } else { inland.at_least(1.0) }
    }

    /// Height above the water.
    #[inline(always)]
    pub(super) fn height<R: Real>(&self, x: R, z: R) -> R {
        let inland = self.inland(x, z);
        let lake = (inland - 1.0) * 20.0;
        if self.water && !inland.any(|inland| inland >= 0.9) {
            return lake;
        }
        let shore = (inland - 1.0) * 14.0;
        let rise = inland.smooth(1.0, 2.6);
        let mut height = shore.lesser(rise * 6.0 + 5.0);
        // Low along the shore, so that the mountains behind have the sky to themselves.
        if rise.any(|rise| rise > 0.0) {
            let hills = self.noise.layers(x * 0.011 + 5.0, z * 0.011 + 9.0, 6) - 0.28;
            height = height + (hills * (z.smooth(230.0, 620.0) * 62.0 + 20.0) * rise).at_least(-2.0);
        }
        let far = (z + (x - self.massif.0).magnitude() * 0.16).smooth(330.0, 860.0);
        if far.any(|far| far > 0.0) {
            height = height + self.mountains(x, z) * far;
        }
        if self.water {
            return inland.below(0.9, lake, height);
        }
        height.greater(self.noise.layers(x * 0.02, z * 0.02, 4) * 9.0)
    }

    #[inline(always)]
    fn mountains<R: Real>(&self, x: R, z: R) -> R {
        let mountains = match self.ground {
            Ground::Desert => self.mesas(x, z),
            _ => self.noise.eroded(x * 0.0050 + 11.0, z * 0.0050 + 3.0, 10) * (172.0 * self.massif.1) - 26.0,
        };
        let aside = (x - self.massif.0) * (1.0 / 210.0);
        let crest = (-(aside * aside)).power_of_e() * 0.35 + 1.0;
        (mountains * crest).at_least(0.0)
    }

    /// Table mountains and dunes.
    #[inline(always)]
    fn mesas<R: Real>(&self, x: R, z: R) -> R {
        let raw = self.noise.layers(x * 0.0075 + 3.0, z * 0.0075 + 8.0, 5);
        let worn = raw + self.noise.layers(x * 0.05, z * 0.05, 4) * 0.05;
        let table = worn.smooth(0.50, 0.56) * 0.45 + worn.smooth(0.60, 0.65) * 0.4;
        let strata = (worn * 40.0).wave() * 0.012;
        let dunes = self.noise.layers(x * 0.018 + raw * 2.0, z * 0.009, 3);
        (table + strata * table.at_most(0.5)) * 120.0 + (-(dunes * 2.0 - 1.0).magnitude() + 1.0) * 20.0
    }

    /// How thickly trees stand here, 0 to 1.
    #[inline(always)]
    pub(super) fn forest<R: Real>(&self, x: R, z: R) -> R {
        self.noise.layers(x * 0.017 + 44.0, z * 0.017 + 66.0, 3).smooth(0.40, 0.58)
    }
}
