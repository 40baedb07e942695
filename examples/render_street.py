"""Render the street picture that comes with the package, and its true labels; nobody's photo, so it is ours to ship.

    python examples/render_street.py [OUT.jpg]

A street as seen from a car that keeps to the left. A ray for every pixel meets the ground and upright planes (façades,
cars, trees ...), which are coloured by functions of the place. Distances are in metres: x to the right, y upward, and z
ahead, where the camera looks. Colours are 0..255. The labels are CamVid's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Array = npt.NDArray[np.float64]

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, _, CAR, PEDESTRIAN, _ = range(11)  # CamVid's ids
BUNDLED = Path(__file__).resolve().parents[1] / "src" / "featherseg" / "runtime" / "bundled" / "street.jpg"

SIZE = (480, 640)  # height, width
OVERSAMPLING = 2  # rays a pixel and direction
EYE = (-1.5, 1.35)  # x, y of the camera: in the left lane
FOCAL = 0.92  # focal length over the width of the picture
HORIZON = 0.49  # its place over the height of the picture
ROAD_SIDE = 3.9  # half the width of the road
WALL_SIDE = 7.6  # where the façades stand
END = 120.0  # where the street ends
HAZE = np.array([214.0, 224.0, 234.0])


class Noise:
    """Smooth random values in 0..1 as a function of a place: octaves of a random lattice that repeats after 256."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.lattice = rng.random((256, 256))

    def __call__(self, u: Array, v: Array, octaves: int = 1) -> Array:
        """Values at (u, v); the grain of the first octave is 1."""
        total, weight, norm = np.zeros(np.broadcast(u, v).shape), 1.0, 0.0
        for octave in range(octaves):
            total += weight * self.smooth(u * 2**octave + 17 * octave, v * 2**octave + 31 * octave)
            norm += weight
            weight *= 0.6
        return total / norm

    def smooth(self, u: Array, v: Array) -> Array:
        """One octave: bilinear between lattice points, eased at them."""
        u0, v0 = np.floor(u), np.floor(v)
        fu, fv = u - u0, v - v0
        fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
        i, j = u0.astype(int) & 255, v0.astype(int) & 255
        i1, j1 = (i + 1) & 255, (j + 1) & 255
        table = self.lattice
        near = table[i, j] * (1 - fv) + table[i, j1] * fv
        return near * (1 - fu) + (table[i1, j] * (1 - fv) + table[i1, j1] * fv) * fu

    def cell(self, u: Array, v: Array) -> Array:
        """One value for each cell of a grid of 1."""
        return self.lattice[np.floor(u).astype(int) & 255, np.floor(v).astype(int) & 255]


class Paint(NamedTuple):
    """What a surface shows: colour (...,3) and where it is there at all."""

    colour: Array
    there: npt.NDArray[np.bool_]


Shader = Callable[[Array, Array], Paint]


def solid(colour: tuple[float, float, float], like: Array) -> Array:
    """A colour for every place of `like`, to be painted upon."""
    return np.broadcast_to(np.array(colour, float), (*like.shape, 3)).copy()


def between(value: Array, low: float | Array, high: float | Array) -> npt.NDArray[np.bool_]:
    """low < value < high."""
    return (value > low) & (value < high)


class Canvas:
    """Colour, label and distance of every ray."""

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        self.height, self.width = height, width
        self.focal = FOCAL * width
        columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        self.right = (columns - width / 2) / self.focal  # x gained by a ray for each metre of z
        self.up = (HORIZON * height - rows) / self.focal
        self.colour = np.zeros((height, width, 3))
        self.label = np.full((height, width), SKY, np.uint8)
        self.depth = np.full((height, width), np.inf)

    def facing(self, z: float, x: tuple[float, float], y: tuple[float, float], label: int, shader: Shader) -> None:
        """An upright plane across the street; the shader gets x and y."""
        window = self.window(x, y, (z, z))
        across, up = EYE[0] + z * self.right[window], EYE[1] + z * self.up[window]
        inside = between(across, *x) & between(up, *y)
        self.put(window, np.full(across.shape, z), inside, label, shader(across, up))

    def along(self, x: float, z: tuple[float, float], y: tuple[float, float], label: int, shader: Shader) -> None:
        """An upright plane along the street; the shader gets z and y."""
        window = self.window((x, x), y, z)
        with np.errstate(divide="ignore"):
            depth = np.clip((x - EYE[0]) / self.right[window], -1e4, 1e4)
        up = EYE[1] + depth * self.up[window]
        inside = between(depth, *z) & between(up, *y)
        self.put(window, depth, inside, label, shader(depth, up))

    def put(
        self, window: tuple[slice, slice], depth: Array, inside: npt.NDArray[np.bool_], label: int, paint: Paint
    ) -> None:
        """Paint where the surface is there and nothing nearer is."""
        seen = inside & paint.there & (depth < self.depth[window])
        self.colour[window][seen] = hazy(paint.colour, depth)[seen]
        self.label[window][seen] = label
        self.depth[window][seen] = depth[seen]

    def window(self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> tuple[slice, slice]:
        """The rows and columns in which such a surface can lie."""
        columns = [(side - EYE[0]) / far * self.focal + self.width / 2 for side in x for far in z]
        rows = [HORIZON * self.height - (up - EYE[1]) / far * self.focal for up in y for far in z]
        return (
            slice(max(0, int(min(rows))), max(0, int(max(rows)) + 1)),
            slice(max(0, int(min(columns))), max(0, int(max(columns)) + 1)),
        )


def hazy(colour: Array, depth: Array) -> Array:
    """A colour at a distance: the air between is bright."""
    air = 1 - np.exp(-depth / 300)[..., None]
    return colour * (1 - air) + HAZE * air


def paint_sky(canvas: Canvas, noise: Noise) -> None:
    """Pale blue, brighter towards the horizon, with clouds that lie on a plane far up."""
    rise = np.clip(canvas.up, 0, None)
    height = np.clip(rise / 0.55, 0, 1)[..., None]
    blue = np.array([226.0, 235.0, 244.0]) * (1 - height) + np.array([148.0, 186.0, 228.0]) * height
    clouds = noise(canvas.right / (rise + 0.12) * 1.3 + 40, 1.0 / (rise + 0.12) * 1.6, octaves=5)
    share = np.clip((clouds - 0.42) * 3.2, 0, 0.95)[..., None]
    canvas.colour[:] = blue * (1 - share) + np.array([245.0, 246.0, 248.0]) * share


@dataclass(frozen=True)
class Car:
    """A car of 1.7 x 4.1 m that shows its back; x is its middle, z its back."""

    x: float
    z: float
    colour: tuple[float, float, float]


def paint_ground(canvas: Canvas, noise: Noise, cars: list[Car]) -> None:
    """Asphalt with lines and patches, kerbs, pavements of slabs; shadows where cars stand and walls begin."""
    below = canvas.up < -1e-9
    z = np.where(below, -EYE[1] / np.where(below, canvas.up, -1.0), END)
    x = EYE[0] + z * canvas.right
    seen = below & (z < END)
    grain = noise(x * 45, z * 45, octaves=2) - 0.5
    stains = noise(x * 0.9, z * 0.35, octaves=4) - 0.5
    light = 1 + 0.32 * grain + 0.38 * stains + 0.06 * np.cos(x * 2 * np.pi / 1.75)
    colour = np.array([104.0, 104.0, 108.0]) * light[..., None]

    patch = between(x, 0.4, 2.6) & between(z, 9, 15.5) | between(x, -3.2, -1.9) & between(z, 17, 29)
    colour[patch] *= 0.84
    worn = 0.75 + 0.5 * (noise(x * 9, z * 9, octaves=2) - 0.35)
    white = (abs(x) < 0.06) & (z % 6 < 3.2)
    yellow = between(abs(abs(x) - (ROAD_SIDE - 0.34)), 0.06, 0.13)
    for line, tint in ((white, (205.0, 205.0, 200.0)), (yellow, (176.0, 152.0, 78.0))):
        colour[line] = (np.array(tint) * worn[..., None])[line]

    paved = abs(x) > ROAD_SIDE
    joints = (x % 0.62 < 0.03) | (z % 0.9 < 0.04)
    slabs = 1 + 0.2 * (noise.cell(x / 0.62, z / 0.9) - 0.5) + 0.25 * grain + 0.3 * stains - 0.22 * joints
    colour[paved] = (np.array([150.0, 144.0, 136.0]) * slabs[..., None])[paved]
    kerb = between(abs(x), ROAD_SIDE, ROAD_SIDE + 0.2)
    colour[kerb] = (np.array([166.0, 162.0, 154.0]) * (slabs - 0.25 * (z % 0.95 < 0.05))[..., None])[kerb]
    colour[between(abs(x), ROAD_SIDE - 0.1, ROAD_SIDE)] *= 0.62  # the gutter, and the kerb's upright side

    for car in cars:  # the dark under a car, soft at its edges
        far = np.maximum(abs(x - car.x) / 1.05, abs(z - car.z - 2.05) / 2.35)
        colour *= (1 - 0.8 * np.clip((1.12 - far) * 5, 0, 1))[..., None]
    colour *= (1 - 0.25 * np.clip(1 - (WALL_SIDE - abs(x)) / 1.2, 0, 1))[..., None]
    gables = -2.9 + 1.1 * noise.cell(z / 9, z * 0) + 0.15 * noise(z * 2, z * 0)  # how far the left row's shade reaches
    colour *= (1 - 0.22 * np.clip(0.5 - 2 * (x - gables), 0, 1))[..., None]

    canvas.colour[seen] = hazy(colour, z)[seen]
    canvas.label[seen] = np.where(paved, PAVEMENT, ROAD)[seen]
    canvas.depth[seen] = z[seen]


@dataclass(frozen=True)
class House:
    """A house in the row: from z to z + length."""

    z: float
    length: float
    height: float
    wall: tuple[float, float, float]
    shop: tuple[float, float, float] | None  # the colour of its fascia
    storey: float = 2.9
    bay: float = 2.2


def facade(house: House, noise: Noise, light: float) -> Shader:
    """A wall of bricks with windows, a shop on the ground floor, a cornice."""

    def shade(z: Array, y: Array) -> Paint:
        u, top = z - house.z, house.height
        grain = noise(z * 14, y * 14, octaves=2) - 0.5
        stains = noise(z * 0.8, y * 0.5, octaves=4) - 0.5
        bricks = (y % 0.15 < 0.022) | ((u + 0.11 * (y // 0.15 % 2)) % 0.23 < 0.018)
        colour = solid(house.wall, z) * (1 + 0.2 * grain + 0.45 * stains - 0.12 * bricks)[..., None]
        paint_windows(colour, house, z, y, noise)
        if house.shop:
            paint_shop(colour, house, z, y, noise)
        cornice = between(y, top - 0.45, top)
        colour[cornice] = 0.5 * colour[cornice] + 0.5 * np.array([188.0, 180.0, 166.0])
        colour[between(y, top - 0.55, top - 0.45)] *= 0.55
        colour *= (1 - 0.3 * np.clip(1 - y / 0.8, 0, 1))[..., None]
        colour[(u < 0.08) | (u > house.length - 0.08)] *= 0.7
        return Paint(colour * light, between(y, 0.0, top))

    return shade


def paint_windows(colour: Array, house: House, z: Array, y: Array, noise: Noise) -> None:
    """Windows in bays and storeys: a stone rim, a white frame with bars, glass that mirrors or shows a curtain."""
    u, floor = z - house.z, 3.3 if house.shop else 0.6
    row, storey = np.divmod(y - floor, house.storey)
    column, bay = np.divmod(u - (house.length % house.bay) / 2, house.bay)
    there = (y > floor) & (row < (house.height - 0.8 - floor) // house.storey) & between(u, 0.3, house.length - 0.3)
    rim = there & between(bay, 0.5, house.bay - 0.5) & between(storey, 0.6, house.storey - 0.38)
    opening = there & between(bay, 0.62, house.bay - 0.62) & between(storey, 0.75, house.storey - 0.5)
    colour[rim] = (196, 190, 178)
    colour[rim & between(storey, 0.6, 0.68)] = (150, 144, 132)
    curtains = noise.cell(column + 5, row + house.z)
    mirrored = noise(z * 0.7 + 9, y * 1.1, octaves=3)
    glass = solid((46, 54, 62), z) * (0.45 + 1.1 * curtains * mirrored + 0.5 * storey / house.storey)[..., None]
    bars = (abs(bay - house.bay / 2) < 0.035) | (abs(storey - house.storey / 2) < 0.04)
    glass[bars | (abs(bay - house.bay / 2) > house.bay / 2 - 0.7)] = (215, 212, 205)
    colour[opening] = glass[opening]


def paint_shop(colour: Array, house: House, z: Array, y: Array, noise: Noise) -> None:
    """A shop front: panes with something behind them, and a fascia with something like letters."""
    u, shop = z - house.z, np.array(house.shop)
    pane, place = np.divmod(u, 2.3)
    goods = noise(z * 2.2, y * 1.8, octaves=4) * np.clip(1.6 - 0.5 * y, 0.2, 1.2)
    lit = 0.35 + 0.65 * noise.cell(pane, pane * 3 + house.z)
    front = solid((52, 56, 60), z) + 170 * (lit * goods)[..., None] * np.array([1.0, 0.93, 0.8])
    front[(place < 0.12) | between(y, 2.2, 2.3)] = 0.9 * shop
    front[y < 0.55] = 0.8 * np.array(house.wall)
    front[y > 2.75] = shop
    letters = between(y, 2.88, 3.14) & between(u, 1.2, house.length - 1.2) & (noise.cell(u / 0.12, y / 0.13) > 0.45)
    front[letters] = (228, 222, 204)
    colour[y < 3.3] = front[y < 3.3]


def plaster(house: House, noise: Noise, light: float) -> Shader:
    """A wall without windows."""

    def shade(x: Array, y: Array) -> Paint:
        grain = noise(x * 9, y * 9, octaves=3) - 0.5
        return Paint(solid(house.wall, x) * light * (1 + 0.5 * grain)[..., None], np.full(x.shape, True))

    return shade


def paint_houses(canvas: Canvas, noise: Noise, rng: np.random.Generator) -> None:
    """Both rows of houses to the end of the street, and one that closes it."""
    walls = ((158, 112, 88), (196, 178, 142), (176, 160, 132), (140, 96, 78), (206, 200, 188), (166, 132, 104))
    shops = ((52, 74, 110), (140, 44, 40), (46, 84, 62), (150, 138, 112))
    for side, light in ((-1, 0.62), (1, 1.0)):
        z = 2.0
        while z < END:
            length, height = rng.uniform(7, 13), rng.uniform(6.8, 10.8)
            wall = walls[rng.integers(len(walls))]
            shop = shops[rng.integers(len(shops))] if rng.random() < 0.5 else None
            paint_house(canvas, House(z, length, height, wall, shop), noise, side=side, light=light)
            z += length
    last = House(END, 0, 7.0, walls[2], None)
    canvas.facing(END, (-14, 16), (0, last.height), BUILDING, plaster(last, noise, 0.8))


def paint_house(canvas: Canvas, house: House, noise: Noise, *, side: int, light: float) -> None:
    """The façade, the end wall that looks over a lower neighbour, a chimney."""
    wall, top = side * WALL_SIDE, house.height
    canvas.along(wall, (house.z, house.z + house.length), (0, top), BUILDING, facade(house, noise, light))
    canvas.facing(house.z, ordered(wall, 2 * wall), (0, top), BUILDING, plaster(house, noise, 0.75 * light))
    chimney, rise = ordered(wall + 0.6 * side, wall + 1.8 * side), (top - 0.5, top + 1.3)
    canvas.facing(house.z + 0.8, chimney, rise, BUILDING, plaster(house, noise, 0.6 * light))


def ordered(a: float, b: float) -> tuple[float, float]:
    """The smaller one first."""
    return min(a, b), max(a, b)


def tree(x: float, height: float, width: float, noise: Noise, seed: float) -> Shader:
    """A crown of leaves, ragged at its edge, lit from above and from the left."""

    def shade(across: Array, y: Array) -> Paint:
        u, v = (across - x) / width * 2, (y - height * 0.62) / (height * 0.38)
        billows = noise(across * 1.1 + seed, y * 1.1, octaves=3)
        leaves = noise(across * 5 + seed, y * 5, octaves=3)
        crown = u * u + v * v + 0.9 * (billows - 0.5) + 0.9 * (leaves - 0.5) < 0.82
        light = 0.5 + 0.75 * (billows - 0.35) + 1.15 * (leaves - 0.45) + 0.22 * v - 0.12 * u
        green = solid((96, 108, 56), across) * np.clip(light, 0.12, 1.6)[..., None]
        trunk = (abs(across - x) < 0.09 + 0.012 * (height - y)) & (y < height * 0.6)
        bark = solid((84, 72, 60), across) * (0.6 + 0.7 * noise(across * 30, y * 6, octaves=2))[..., None]
        return Paint(np.where(crown[..., None], green, bark), crown | trunk)

    return shade


def back_of(car: Car, noise: Noise) -> Shader:
    """A car from behind: body, window, lights, yellow plate, tyres."""

    def shade(across: Array, y: Array) -> Paint:
        u = abs(across - car.x)
        narrowing = np.clip((y - 0.92) / 0.52, 0, 1) ** 1.5
        body = (u < 0.85 - 0.06 * (y < 0.45)) & between(y, 0.26, 0.98)
        cabin = (u < 0.8 - 0.2 * narrowing) & between(y, 0.9, 1.45 - 0.06 * (u / 0.8) ** 4)
        tyres = between(u, 0.56, 0.78) & (y < 0.32)
        colour = solid(car.colour, u) * (0.62 + 0.45 * y + 0.1 * (noise(across * 6, y * 6, 2) - 0.5))[..., None]
        colour[abs(y - 0.93) < 0.012] *= 0.5
        window = (u < 0.66 - 0.17 * narrowing) & between(y, 0.99, 1.36)
        sky = np.clip((y - 1.0) / 0.4, 0, 1) * 70 + 40 * noise(across * 3, y * 5, octaves=2)
        colour[window] = (solid((28, 32, 36), u) + sky[..., None])[window]
        colour[between(u, 0.62, 0.8) & between(y, 0.68, 0.93)] = (158, 24, 22)
        colour[between(u, 0.66, 0.76) & between(y, 0.72, 0.78)] = (212, 150, 110)
        colour[(u < 0.26) & between(y, 0.6, 0.71)] = (196, 168, 60)
        colour[(u < 0.22) & between(y, 0.63, 0.68) & (np.floor(across * 28) % 2 > 0)] = (40, 38, 30)
        colour[between(y, 0.36, 0.5) & body] *= 0.45
        colour[y < 0.3] = (26, 26, 27)
        return Paint(colour, body | cabin | tyres | (u < 0.7) & between(y, 0.2, 0.3))

    return shade


def side_of(car: Car, noise: Noise, part: str) -> Shader:
    """A car's side, to be painted along the street: the body with its wheels, or the windows further in."""

    def shade(z: Array, y: Array) -> Paint:
        u = z - car.z  # 0 at the back, 4.1 at the front
        colour = solid(car.colour, z) * (0.5 + 0.42 * y + 0.1 * (noise(z * 5, y * 6, 2) - 0.5))[..., None]
        if part == "windows":
            there = between(u, 0.06 + 0.5 * (y - 0.92), 2.95 - 1.6 * (y - 0.92)) & between(y, 0.9, 1.43)
            glass = between(u, 0.28 + 0.5 * (y - 0.92), 2.8 - 1.6 * (y - 0.92)) & between(y, 0.98, 1.34)
            glass &= abs(u - 1.45) > 0.05
            colour[glass] = (38, 44, 50)
            return Paint(colour, there)
        wheel = np.minimum(np.hypot(u - 0.72, y - 0.31), np.hypot(u - 3.3, y - 0.31))
        there = between(y, 0.24, 0.95 - 0.05 * np.clip(u - 2.9, 0, 2) ** 2) & between(u, 0.0, 4.1) | (wheel < 0.31)
        colour[(abs(u - 1.45) < 0.012) | (abs(u - 2.5) < 0.012)] *= 0.55
        colour[wheel < 0.37] = (24, 24, 25)
        colour[wheel < 0.19] = (142, 144, 148)
        colour[y < 0.26] *= 0.4
        return Paint(colour, there)

    return shade


def paint_car(canvas: Canvas, car: Car, noise: Noise) -> None:
    """The back of a car and the side that is turned to the camera."""
    turned = 1 if car.x < EYE[0] else -1
    canvas.facing(car.z, (car.x - 0.9, car.x + 0.9), (0, 1.5), CAR, back_of(car, noise))
    canvas.along(car.x + turned * 0.85, (car.z, car.z + 4.1), (0, 1.0), CAR, side_of(car, noise, "body"))
    canvas.along(car.x + turned * 0.66, (car.z, car.z + 4.1), (0.9, 1.5), CAR, side_of(car, noise, "windows"))


def lamp_post(x: float, reach: float) -> Shader:
    """A tapered post of 6.5 m with an arm over the road."""

    def shade(across: Array, y: Array) -> Paint:
        post = (abs(across - x) < 0.085 - 0.006 * y) & (y < 6.5)
        arm = between((across - x) / reach, 0, 1) & (abs(y - 6.4 - 0.06 * (across - x) / reach) < 0.045)
        lamp = between((across - x) / reach, 0.75, 1.3) & (abs(y - 6.45) < 0.09)
        colour = solid((92, 96, 96), across) * (1.1 - 2.5 * (across - x + 0.08))[..., None].clip(0.6, 1.2)
        return Paint(colour, post | arm | lamp)

    return shade


def round_sign(x: float, y: float, radius: float) -> Shader:
    """A white disc with a red rim and a dark bar."""

    def shade(across: Array, up: Array) -> Paint:
        far = np.hypot(across - x, up - y)
        colour = solid((226, 226, 222), across)
        colour[(abs(across - x) < radius * 0.45) & (abs(up - y) < radius * 0.3)] = (40, 40, 44)
        colour[far > radius * 0.76] = (186, 28, 34)
        return Paint(colour, far < radius)

    return shade


def person(x: float, coat: tuple[float, float, float], noise: Noise) -> Shader:
    """Somebody from behind, 1.75 m tall."""

    def shade(across: Array, y: Array) -> Paint:
        u = across - x
        head = np.hypot(u / 0.1, (y - 1.61) / 0.135) < 1
        body = (abs(u) < 0.25 - 0.09 * abs(y - 1.15)) & between(y, 0.72, 1.48 - 0.5 * u * u)
        legs = between(abs(u), 0.015, 0.17 - 0.03 * (0.8 - y)) & between(y, 0.03, 0.8)
        colour = solid(coat, u) * (0.75 + 0.5 * noise(across * 9, y * 7, octaves=3))[..., None]
        colour[legs & ~body] = (44, 46, 58)
        colour[head] = (70, 52, 42)
        return Paint(colour, head | body | legs)

    return shade


def render(seed: int = 14, size: tuple[int, int] = SIZE) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The picture, uint8 (H,W,3), and its labels, uint8 (H,W), CamVid's ids; the same for the same seed."""
    rng = np.random.default_rng(seed)
    noise = Noise(rng)
    canvas = Canvas((size[0] * OVERSAMPLING, size[1] * OVERSAMPLING))
    cars = [
        Car(-1.75, 15.0, (52, 74, 122)),
        Car(3.0, 11.5, (150, 152, 156)),
        Car(3.0, 17.5, (134, 34, 32)),
        Car(3.0, 30.0, (40, 42, 46)),
        Car(-1.8, 42.0, (196, 196, 192)),
    ]
    paint_sky(canvas, noise)
    paint_ground(canvas, noise, cars)
    paint_houses(canvas, noise, rng)
    for z, x, height, width in (
        (END - 1, -3, 10, 12), (END - 2, 7, 9, 9), (62, -5.7, 8.0, 4.6), (45, 5.6, 7.5, 4.4), (33, -5.6, 7.0, 4.2),
        (24, 5.5, 6.6, 4.0), (17.5, -5.5, 6.2, 3.7),
    ):  # fmt: skip
        shader = tree(x, height, width, noise, seed=z)
        canvas.facing(z, (x - width, x + width), (0, height * 1.2), TREE, shader)
    for z, x, reach in ((13.0, 4.5, -1.4), (36.0, -4.5, 1.4), (52.0, 4.5, -1.4)):
        canvas.facing(z, (x - 2, x + 2), (0, 7), POLE, lamp_post(x, reach))
    canvas.facing(10.4, (-4.62, -4.52), (0, 2.5), POLE, lamp_post(-4.57, 0.01))
    canvas.facing(10.35, (-5.1, -4.0), (2, 3.2), SIGN, round_sign(-4.57, 2.5, 0.34))
    for car in cars:
        paint_car(canvas, car, noise)
    for z, x, coat in ((11.5, -5.7, (46, 48, 58)), (20.0, 5.4, (120, 44, 40)), (26.0, -5.3, (62, 60, 56))):
        canvas.facing(z, (x - 0.4, x + 0.4), (0, 1.8), PEDESTRIAN, person(x, coat, noise))
    return photograph(canvas, rng), canvas.label[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]


def photograph(canvas: Canvas, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """What a plain camera makes of the light: contrast, dark corners, a soft lens, a noisy sensor."""
    height, width = canvas.height // OVERSAMPLING, canvas.width // OVERSAMPLING
    grid = canvas.colour.reshape(height, OVERSAMPLING, width, OVERSAMPLING, 3).mean(axis=(1, 3)) / 255
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = np.clip(grid, 0, 1) ** 1.05 * (1 - 0.14 * (rows**2 + columns**2))[..., None]
    lens = Image.fromarray((np.clip(light, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.55))
    exposed = np.asarray(lens, float)
    noise = rng.normal(0, 1, (height, width, 1)) * 2.2 + rng.normal(0, 1, (height, width, 3)) * 1.2
    return np.clip(exposed + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED
    Image.fromarray(render()[0]).save(target, quality=88)
    print(target)
