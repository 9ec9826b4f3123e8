//! Towers behind a river, mostly at night and in rain: lit windows, signs, lamps on the quay, all mirrored.

use super::Painter;
use super::canvas::Canvas;
use super::fall::Fall;
use super::finish::Finish;
use super::light::Light;
use super::sky::{Sky, View};
use super::walk::Eye;
use super::water::{Surface, Water};
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::frame::Frame;
use crate::noise::Noise;
use crate::pool::Halt;
use crate::prompt::Chance;
use crate::request::Size;
use crate::scene::{Camera, Hour, Pace, Scene, Weather};

const EYE_HEIGHT: f32 = 7.0;
/// Rows of houses: distance, number, lowest and highest tower.
const ROWS: [(f32, usize, f32, f32); 4] =
    [(560.0, 46, 60.0, 190.0), (390.0, 40, 36.0, 128.0), (260.0, 34, 18.0, 76.0), (180.0, 30, 8.0, 30.0)];
/// A kind of front.
struct Front {
    /// Size of a window with its share of wall.
    window: (f32, f32),
    /// The part of it that is glass, across and up.
    across: (f32, f32),
    up: (f32, f32),
}

const FRONTS: [Front; 4] = [
    Front { window: (2.1, 3.0), across: (0.22, 0.78), up: (0.25, 0.80) },
    // Ribbons of glass, narrow panes from floor to floor, and wide ones.
    Front { window: (4.6, 3.3), across: (0.03, 0.97), up: (0.34, 0.78) },
    Front { window: (1.5, 3.6), across: (0.28, 0.72), up: (0.06, 0.94) },
    Front { window: (3.1, 3.1), across: (0.12, 0.88), up: (0.22, 0.82) },
];

struct House {
    x: f32,
    z: f32,
    width: f32,
    height: f32,
    wall: Rgb,
    lit: f32,
    warm: f32,
    seed: i32,
    front: usize,
    sign: Option<(f32, Rgb)>,
    mast: f32,
}

/// A window seen from outside.
struct Pane {
    column: i32,
    /// Whether there is light, and how many windows around it have some.
    lit: f32,
    part: f32,
    light: Rgb,
}

impl Default for Pane {
    /// Of no house.
    fn default() -> Self {
        Self { column: -1, lit: 0.0, part: 0.0, light: Rgb::BLACK }
    }
}

/// Where a house lies on the sheet.
struct Place {
    far: f32,
    /// Pixels per map unit.
    scale: f32,
    left: f32,
    right: f32,
    top: f32,
}

impl Place {
    fn of(house: &House, view: &View, eye: Eye) -> Self {
        let far = house.z - eye.z;
        let scale = view.focal / far;
        let left = view.centre + ((house.x - eye.x) / far - view.pan) * view.focal;
        Self { far, scale, left, right: left + house.width * scale, top: view.horizon - (house.height - eye.y) * scale }
    }

    /// The columns of a sheet of this width that it touches.
    fn columns(&self, width: usize) -> std::ops::Range<usize> {
        let end = (self.right.ceil().max(0.0) as usize).min(width);
        (self.left.max(0.0) as usize).min(end)..end
    }
}

pub(super) struct City {
    light: Light,
    sky: Sky,
    noise: Noise,
    water: Water,
    fall: Fall,
    finish: Finish,
    houses: Vec<House>,
    lamp: Rgb,
    /// Warm and cold light behind windows.
    windows: [Rgb; 2],
    camera: Camera,
    speed: f32,
}

impl City {
    pub(super) fn new(scene: &Scene) -> Self {
        let mut light = Light::of(scene);
        let night = matches!(scene.hour, Hour::Night | Hour::Dusk);
        if scene.hour == Hour::Night {
            light.sky = [0x6e4468, 0x43305e, 0x241f48, 0x121534, 0x080b1e].map(Rgb::hex);
            light.clouds = [Rgb::hex(0x7a5674), Rgb::hex(0x241f3a)];
            light.ambient = Rgb::hex(0x4a4a80) * 0.5;
            light.stars *= 0.4;
        }
        light.haze = light.haze.min(1_500.0);
        let mut chance = Chance::new(scene.seed ^ 0xc17);
        let lit = if night {
            0.42
        } else if scene.hour == Hour::Day {
            0.04
        } else {
            0.24
        };
        let mut houses = Vec::new();
        for (z, count, low, high) in ROWS {
            let span = z * 2.2 + 120.0;
            for number in 0..count {
                let middle = 1.0 - ((number as f32 / count as f32 - 0.5) * 1.5).abs();
                let tall = chance.unit().powf(1.8) * (0.45 + 0.55 * middle);
                houses.push(House {
                    x: (number as f32 + chance.within(-0.3, 0.3)) / count as f32 * span - span * 0.5,
                    z: z + chance.within(-12.0, 12.0),
                    width: chance.within(0.75, 1.5) * span / count as f32,
                    height: low + (high - low) * tall,
                    wall: Rgb::hex(0x2a2e40).mix(Rgb::hex(0x4a3e48), chance.unit()),
                    lit: lit * chance.within(0.4, 1.5),
                    warm: chance.unit(),
                    seed: (chance.next() & 0xffff) as i32,
                    front: (chance.next() % FRONTS.len() as u64) as usize,
                    sign: (night && chance.unit() < 0.16).then(|| {
                        let colours = [0xff2a8a, 0x20e0ff, 0xff7a20, 0x8a4aff, 0x30ff9a].map(Rgb::hex);
                        (chance.within(0.2, 0.8), chance.pick(&colours) * 2.6)
                    }),
                    mast: if chance.unit() < 0.2 { chance.within(6.0, 18.0) } else { 0.0 },
                });
            }
        }
        houses.sort_by(|a, b| b.z.total_cmp(&a.z));
        let rain = scene.weather == Weather::Rain;
        let speed = match scene.pace {
            Pace::Calm => 0.8,
            Pace::Steady => 1.2,
            Pace::Fast => 2.4,
        };
        Self {
            sky: Sky::new(scene, &light, 0.6 + speed),
            noise: Noise::new(scene.seed ^ 0x301),
            water: Water {
                noise: Noise::new(scene.seed ^ 0x3a7e),
                deep: Rgb::hex(0x0a1420),
                rough: if rain { 0.05 } else { 0.03 },
                speed: 1.0 + 0.3 * speed,
                swell: None,
            },
            fall: Fall::new(scene.weather, scene.seed, light.ambient.mix(Rgb::hex(0xb8c4e8), 0.6) * 0.8),
            finish: Finish::new(light.exposure, 0.9),
            houses,
            lamp: Rgb::hex(0xffc080) * if night { 5.0 } else { 0.6 },
            windows: [0xffc878, 0xa8d0ff].map(Rgb::hex),
            camera: scene.camera,
            speed,
            light,
        }
    }

    fn look(&self, size: Size, time: f32) -> (View, Eye) {
        let (width, height) = (size.width as f32, size.height as f32);
        let focal = (width * height * 16.0 / 9.0).sqrt();
        let gone = 60.0 * (1.0 - (-time * self.speed * 5.0 / 60.0).exp());
        let eye = match self.camera {
            Camera::Left => Eye { x: -gone, y: EYE_HEIGHT, z: 0.0 },
            Camera::Right => Eye { x: gone, y: EYE_HEIGHT, z: 0.0 },
            Camera::Forward => Eye { x: 0.0, y: EYE_HEIGHT, z: gone },
            Camera::Rise => Eye { x: 0.0, y: EYE_HEIGHT + gone * 0.5, z: gone * 0.4 },
        };
        (View { focal, centre: width * 0.5 - 0.5, horizon: height * 0.62, pan: 0.0 }, eye)
    }

    /// Houses, far ones first, then the quay with its lamps.
    fn draw_town(&self, canvas: &mut Canvas, view: &View, eye: Eye, time: f32, halt: &Halt) -> Result<(), Error> {
        let (far, scale) = (150.0 - eye.z, view.focal / (150.0 - eye.z));
        let (top, base) = (view.horizon - (1.6 - eye.y) * scale, view.horizon + eye.y * scale);
        let ends = self.ends(canvas, view, eye, top.ceil().max(0.0) as u32);
        for (house, (place, ends)) in self.houses.iter().zip(&ends) {
            halt.check()?;
            self.draw_house(canvas, house, place, ends, (view, eye), time);
        }
        let air = self.sky.haze(0.0);
        let stone = (self.light.ambient.tint(Rgb::hex(0x30303a)) + self.lamp * 0.004).mix(air, 0.08);
        for y in top.max(0.0) as usize..(base.ceil().max(0.0) as usize).min(canvas.height) {
            let cover = overlap(y as f32, top, base);
            for x in 0..canvas.width {
                canvas.lay(x, y, far, stone, cover);
            }
        }
        for number in -14..=14_i32 {
            let x = view.centre + (number as f32 * 14.0 - eye.x) * scale;
            let y = view.horizon - (6.2 - eye.y) * scale;
            let size = 0.42 * scale;
            let reach = (size * 3.0).ceil();
            for py in (y - reach).max(0.0) as usize..((y + reach).max(0.0) as usize).min(canvas.height) {
                for px in (x - reach).max(0.0) as usize..((x + reach).max(0.0) as usize).min(canvas.width) {
                    let (dx, dy) = (px as f32 - x, py as f32 - y);
                    canvas.pixels[py * canvas.width + px] += self.lamp * (-(dx * dx + dy * dy) / (size * size)).exp();
                }
            }
        }
        Ok(())
    }

    /// Where each house stands, and for each of its columns the row from which nearer ones hide it; below `quay` the quay
    /// hides all. Most of a far house is not seen.
    fn ends(&self, canvas: &Canvas, view: &View, eye: Eye, quay: u32) -> Vec<(Place, Vec<u32>)> {
        let mut hidden = vec![quay.min(canvas.height as u32); canvas.width];
        let end = |house| {
            let place = Place::of(house, view, eye);
            let ends = hidden[place.columns(canvas.width)].to_vec();
            let inside = place.left.ceil().max(0.0) as usize..place.right.max(0.0) as usize;
            for row in hidden.iter_mut().take(inside.end).skip(inside.start) {
                *row = (*row).min(place.top.ceil().max(0.0) as u32);
            }
            (place, ends)
        };
        let mut ends: Vec<_> = self.houses.iter().rev().map(end).collect();
        ends.reverse();
        ends
    }

    /// `ends` has the first hidden row of each column.
    fn draw_house(
        &self,
        canvas: &mut Canvas,
        house: &House,
        place: &Place,
        ends: &[u32],
        (view, eye): (&View, Eye),
        time: f32,
    ) {
        let Place { far, scale, left, right, top } = *place;
        let base = view.horizon - (1.0 - eye.y) * scale;
        if right < 0.0 || left >= canvas.width as f32 {
            return;
        }
        let air = self.sky.haze(view.across((left + right) * 0.5));
        let haze = 1.0 - (-far / self.light.haze).exp();
        let wall = self.light.ambient.tint(house.wall) * 1.3 + self.light.sun.tint(house.wall) * 0.35;
        let seen = ends.iter().max().copied().unwrap_or_default() as usize;
        for y in top.max(0.0) as usize..(base.ceil().max(0.0) as usize).min(seen) {
            let height = house.height - (y as f32 + 0.5 - top) / scale;
            let rows = overlap(y as f32, top, base);
            // Streets glow from below.
            let street = self.lamp.tint(house.wall) * (0.10 * (-height / 14.0).exp());
            let mut pane = Pane::default();
            for (x, end) in place.columns(canvas.width).zip(ends) {
                if y as u32 >= *end {
                    continue;
                }
                let along = (x as f32 + 0.5 - left) / scale;
                let side = if along > house.width * 0.72 { 0.55 } else { 1.0 };
                let light = self.window(house, along, height, scale, time, &mut pane) * side;
                let colour = (wall * side + street).mix(air, haze) + light * (1.0 - haze * 0.7);
                canvas.lay(x, y, far, colour, rows * overlap(x as f32, left, right));
            }
        }
        if house.mast > 0.0 {
            let middle = (left + right) * 0.5;
            let tip = top - house.mast * scale;
            for y in tip.max(0.0) as usize..(top.max(0.0) as usize).min(canvas.height) {
                let x = middle as usize;
                if middle >= 0.0 && x < canvas.width {
                    canvas.lay(x, y, far, wall.mix(air, haze), (0.35 * scale).min(0.9));
                }
            }
            let blink = smooth(0.2, 0.9, (time * 2.4 + house.seed as f32).sin());
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let (x, y) = (middle as usize + dx, tip.max(0.0) as usize + dy);
                if middle >= 0.0 && tip >= 0.0 && x < canvas.width && y < canvas.height {
                    canvas.pixels[y * canvas.width + x] += Rgb::new(2.4, 0.12, 0.08) * blink;
                }
            }
        }
    }

    /// What is behind one window.
    fn pane(&self, house: &House, at_x: i32, at_y: i32) -> Pane {
        let window = FRONTS[house.front].window;
        let chance = self.noise.at(at_x + house.seed, at_y * 3 + house.seed / 7);
        let other = self.noise.at(at_y + house.seed / 3, at_x + 90);
        // Whole floors are lit where people work late.
        let floor = if self.noise.at(at_y, house.seed) > 0.86 { 0.35 } else { 0.0 };
        // People are home in some parts of a house and out in others.
        let (along, height) = ((at_x as f32 + 0.5) * window.0, (at_y as f32 + 0.5) * window.1);
        let home = 0.25 + 1.5 * self.noise.value(along * 0.11 + house.seed as f32, height * 0.055);
        let part = house.lit * home;
        let warm = self.windows[0].mix(self.windows[1], smooth(0.55, 0.9, house.warm * 0.6 + other * 0.5));
        Pane {
            column: at_x,
            lit: smooth(0.0, 0.06, part + floor - chance),
            part,
            light: warm * (0.5 + 1.3 * other * other),
        }
    }

    /// Light from this place of a wall; `pane` is what was last looked at in this row. Windows smaller than a pixel become
    /// their average.
    fn window(&self, house: &House, along: f32, height: f32, scale: f32, time: f32, pane: &mut Pane) -> Rgb {
        let Front { window, across: glass_x, up: glass_y } = FRONTS[house.front];
        let (column, row) = (along / window.0, height / window.1);
        // Both are above zero: within the wall.
        let (at_x, at_y) = (column as i32, row as i32);
        if pane.column != at_x {
            *pane = self.pane(house, at_x, at_y);
        }
        let soft = (0.5 / (window.0 * scale)).min(0.5);
        let edge = |at: f32, low: f32, high: f32| {
            let at = (at - (low + high) * 0.5).abs();
            ((high - low) * 0.5 + soft - at).clamp(0.0, 2.0 * soft) / (2.0 * soft)
        };
        let shape = edge(column - at_x as f32, glass_x.0, glass_x.1) * edge(row - at_y as f32, glass_y.0, glass_y.1);
        let detail = smooth(1.6, 3.2, window.0 * scale);
        let amount = shape * pane.lit * detail + pane.part * 0.30 * (1.0 - detail);
        let mut light = pane.light * amount;
        if let Some((at, colour)) = house.sign {
            let (middle, half) = (house.width * at, 0.9);
            let across = (half + 0.5 / scale - (along - middle).abs()).clamp(0.0, 1.0 / scale) * scale;
            let span = smooth(house.height * 0.45, house.height * 0.45 + 1.0, height)
                * smooth(house.height * 0.86, house.height * 0.86 - 1.0, height);
            let hum = 0.9 + 0.1 * (time * 9.0 + house.seed as f32).sin();
            light = light.mix(colour * hum, across * span);
        }
        light
    }
}

/// How much of the pixel from `at` to `at + 1` lies between two bounds.
fn overlap(at: f32, low: f32, high: f32) -> f32 {
    (high.min(at + 1.0) - low.max(at)).clamp(0.0, 1.0)
}

impl Painter for City {
    fn paint(&self, size: Size, time: f32, halt: &Halt) -> Result<Frame, Error> {
        let (view, eye) = self.look(size, time);
        let mut canvas = Canvas::of(size);
        self.sky.paint(&mut canvas, &view, time, halt)?;
        let mirror_view = view.smaller(2.0);
        let mut mirror = canvas.halved(mirror_view.horizon.ceil() as usize + 2);
        self.draw_town(&mut mirror, &mirror_view, Eye { y: -eye.y, ..eye }, time, halt)?;
        let shore = view.horizon + eye.y * view.focal / (150.0 - eye.z);
        let open: Vec<f32> =
            (0..canvas.pixels.len()).map(|at| ((at / canvas.width) as f32 + 1.0 - shore).clamp(0.0, 1.0)).collect();
        self.draw_town(&mut canvas, &view, eye, time, halt)?;
        let (water, sky, light) = (&self.water, &self.sky, &self.light);
        Surface { water, sky, light, view, eye, mirror: &mirror, mirror_view }.draw(&mut canvas, &open, time, halt)?;
        self.fall.draw(&mut canvas, time);
        self.finish.frame(&canvas, halt)
    }
}
