// Turns the scenes of a page (report.html.jinja): one WebGL view a figure, for one of its frames at a time.
// Everything is in the rectified camera frame of KITTI: x right, y down, z ahead, metres.
"use strict";

const GROUND = [0.059, 0.075, 0.094];
const CAMERA_GREY = [0.64, 0.67, 0.71];
const VIEWS = {
  reset: { target: [0, 1, 14], yaw: 0.25, pitch: 0.32, distance: 21 },
  "from above": { target: [0, 0, 21], yaw: 0, pitch: 1.56, distance: 48 },
  "from the camera": { target: [0, 0, 10], yaw: 0, pitch: 0, distance: 10 },
};
const TURN_PER_PX = 0.006, ZOOM_PER_PX = 0.0012, KEY_PX = 25, NEAREST_M = 2, FARTHEST_M = 150;
// Degrees from the left of the view to its right: what KITTI's cameras see.
const FIELD_OF_VIEW = 81;
// Corners as in kitti.box3d_corners: the edges, and a cross on the front.
const EDGES = [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7], [0, 5], [1, 4]];
const CAMERA_EDGES = [[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]];

const POINT_SHADER = `
attribute vec3 centimetres;
uniform mat4 view, project;
uniform mat4 to_image;
uniform vec2 heights;
uniform float size_px;
uniform vec3 ramp[4];
varying vec3 colour;
varying vec2 place;
void main() {
  vec4 point = vec4(centimetres / 100.0, 1.0);
  gl_Position = project * view * point;
  gl_PointSize = clamp(size_px / gl_Position.w, size_px / 25.0, size_px / 6.0);
  vec4 pixel = to_image * point;
  place = pixel.xy / pixel.w;
  float height = clamp((-point.y - heights.x) / (heights.y - heights.x), 0.0, 1.0) * 3.0;
  colour = mix(mix(ramp[0], ramp[1], min(height, 1.0)), mix(ramp[2], ramp[3], max(height - 2.0, 0.0)),
               clamp(height - 1.0, 0.0, 1.0));
}`;
const POINT_COLOUR_SHADER = `
precision mediump float;
uniform sampler2D photo;
uniform bool by_image;
varying vec3 colour;
varying vec2 place;
void main() {
  if (length(gl_PointCoord - 0.5) > 0.5) discard;
  // Lighter than the photograph: dark roads would vanish in the ground of the view.
  gl_FragColor = vec4(by_image ? 0.1 + 0.9 * pow(texture2D(photo, place).rgb, vec3(0.75)) : colour, 1.0);
}`;
// WebGL draws lines one pixel wide: these are rectangles, each of two triangles, cut where they pass the eye.
const LINE_SHADER = `
attribute vec3 start, end;
attribute vec2 corner;
uniform mat4 view, project;
uniform vec2 half_width;
void main() {
  vec4 a = project * view * vec4(start, 1.0), b = project * view * vec4(end, 1.0);
  if (a.w < 0.1) a = mix(a, b, clamp((0.1 - a.w) / (b.w - a.w), 0.0, 1.0));
  if (b.w < 0.1) b = mix(b, a, clamp((0.1 - b.w) / (a.w - b.w), 0.0, 1.0));
  vec2 along = normalize((b.xy / b.w - a.xy / a.w) / half_width + vec2(1e-6, 0.0));
  vec4 here = mix(a, b, corner.x);
  gl_Position = here + vec4(vec2(-along.y, along.x) * half_width * corner.y * here.w, 0.0, 0.0);
}`;
const LINE_COLOUR_SHADER = `
precision mediump float;
uniform vec4 colour;
void main() { gl_FragColor = colour; }`;

const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const unit = (a) => a.map((value) => value / Math.hypot(...a));
const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);

/** Where the eye is and how it is turned: right, up and backwards, and the matrix of that (columns one by one). */
function lookFrom({ target, yaw, pitch, distance }) {
  const back = [-Math.sin(yaw) * Math.cos(pitch), -Math.sin(pitch), -Math.cos(yaw) * Math.cos(pitch)];
  const right = unit(cross([0, -1, 0], back));
  const up = cross(back, right);
  const eye = target.map((value, axis) => value + distance * back[axis]);
  const turn = [0, 1, 2].flatMap((axis) => [right[axis], up[axis], back[axis], 0]);
  return { right, up, matrix: [...turn, -dot(right, eye), -dot(up, eye), -dot(back, eye), 1] };
}

function perspective(aspect, near, far) {
  const focal = 1 / Math.tan((FIELD_OF_VIEW * Math.PI) / 360);
  const depth = [(far + near) / (near - far), (2 * far * near) / (near - far)];
  return [focal, 0, 0, 0, 0, focal * aspect, 0, 0, 0, 0, depth[0], -1, 0, 0, depth[1], 0];
}

/** Two triangles for each edge: its ends, which end a corner belongs to, on which side it lies. */
function lineCorners(points, edges) {
  const corners = [[0, -1], [0, 1], [1, -1], [1, -1], [0, 1], [1, 1]];
  return new Float32Array(edges.flatMap(([a, b]) => corners.flatMap((corner) => [...points[a], ...points[b], ...corner])));
}

function int16s(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Int16Array.from({ length: bytes.length / 2 }, (_, place) => view.getInt16(2 * place, true));
}

/** The WebGL side of a view: buffers of one scene, drawn from where the eye is. */
class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl", { antialias: true });
    if (!this.gl) throw new Error("no WebGL");
    this.setUp();
  }

  setUp() {
    const { gl } = this;
    this.points = this.program(POINT_SHADER, POINT_COLOUR_SHADER);
    this.lines = this.program(LINE_SHADER, LINE_COLOUR_SHADER);
    this.photo = gl.createTexture();
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(...GROUND, 1);
  }

  program(vertexShader, fragmentShader) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertexShader], [gl.FRAGMENT_SHADER, fragmentShader]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    const at = (name) => gl.getUniformLocation(program, name);
    return { program, at, attribute: (name) => gl.getAttribLocation(program, name) };
  }

  buffer(values) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    this.buffers.push(buffer);
    return buffer;
  }

  /** Take a scene and its photograph (a loaded image) to the graphics memory, in place of the one before. */
  load(scene, photo) {
    const { gl } = this;
    for (const buffer of this.buffers ?? []) gl.deleteBuffer(buffer);
    this.buffers = [];
    this.scene = scene;
    const lines = (points, edges) => {
      const corners = lineCorners(points, edges);
      return { buffer: this.buffer(corners), count: corners.length / 8 };
    };
    this.clouds = {};
    for (const [name, cloud] of Object.entries(scene.clouds)) {
      const values = int16s(cloud.points);
      this.clouds[name] = { buffer: this.buffer(values), count: values.length / 3 };
    }
    this.boxes = scene.boxes.map((set) => {
      const points = set.corners_cm.flat().map((corner) => corner.map((value) => value / 100));
      const edges = set.corners_cm.flatMap((_, box) => EDGES.map(([a, b]) => [8 * box + a, 8 * box + b]));
      return { ...lines(points, edges), colour: rgb(set.colour) };
    });
    this.camera = lines(scene.camera, CAMERA_EDGES);
    gl.bindTexture(gl.TEXTURE_2D, this.photo);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, photo);
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  }

  /** Draw: `cloud` a name, `boxes` whether each set is shown, `byImage` whether points have the photograph's colours. */
  draw(where, { cloud, boxes, byImage }) {
    const { gl, canvas } = this;
    const { width, height } = canvas;
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.view = lookFrom(where).matrix;
    this.project = perspective(width / height, 0.1, 400);
    gl.enable(gl.DEPTH_TEST);
    this.drawPoints(this.clouds[cloud], byImage);
    // Through points, too, but faintly.
    gl.enable(gl.BLEND);
    for (const [hidden, alpha] of [[true, 0.35], [false, 1]]) {
      gl[hidden ? "disable" : "enable"](gl.DEPTH_TEST);
      this.boxes.forEach((set, place) => boxes[place] && this.drawLines(set, [...set.colour, alpha]));
      this.drawLines(this.camera, [...CAMERA_GREY, alpha]);
    }
    gl.disable(gl.BLEND);
  }

  use({ program, at }) {
    const { gl } = this;
    gl.useProgram(program);
    gl.uniformMatrix4fv(at("view"), false, this.view);
    gl.uniformMatrix4fv(at("project"), false, this.project);
  }

  drawPoints(cloud, byImage) {
    const { gl, scene, points } = this;
    this.use(points);
    gl.uniformMatrix4fv(points.at("to_image"), false, scene.to_image);
    gl.uniform2fv(points.at("heights"), scene.heights_m);
    gl.uniform3fv(points.at("ramp"), scene.ramp.flatMap(rgb));
    gl.uniform1i(points.at("by_image"), byImage);
    gl.uniform1f(points.at("size_px"), this.canvas.width / 16);
    this.drawArrays(gl.POINTS, cloud, [[points.attribute("centimetres"), 3, gl.SHORT, false, 0, 0]]);
  }

  drawLines(corners, colour) {
    const { gl, lines, canvas } = this;
    this.use(lines);
    const width = Math.max(1.6, canvas.height / 340);
    gl.uniform2f(lines.at("half_width"), width / canvas.width, width / canvas.height);
    gl.uniform4fv(lines.at("colour"), colour);
    const places = [["start", 3, 0], ["end", 3, 12], ["corner", 2, 24]];
    const layout = places.map(([name, size, offset]) => [lines.attribute(name), size, gl.FLOAT, false, 32, offset]);
    this.drawArrays(gl.TRIANGLES, corners, layout);
  }

  drawArrays(mode, { buffer, count }, layout) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    for (const [place, ...format] of layout) {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, ...format);
    }
    gl.drawArrays(mode, 0, count);
    // An attribute that stays enabled after its buffer is deleted spoils what other programs draw.
    for (const [place] of layout) gl.disableVertexAttribArray(place);
  }
}

/** Turn, move and zoom a view by mouse, touch and keys; `changed` is called after each change. */
function steer(canvas, where, changed) {
  const fingers = new Map();
  const turn = (dx, dy) => {
    where.yaw += dx * TURN_PER_PX;
    where.pitch = Math.min(1.56, Math.max(-0.3, where.pitch + dy * TURN_PER_PX));
  };
  const move = (dx, dy) => {
    const { right, up } = lookFrom(where);
    const step = (where.distance * 1.7) / canvas.clientWidth;
    where.target = where.target.map((value, axis) => value + step * (dy * up[axis] - dx * right[axis]));
  };
  const zoom = (factor) => {
    where.distance = Math.min(FARTHEST_M, Math.max(NEAREST_M, where.distance * factor));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (fingers.size === 2) {
      const [other] = [...fingers.values()].filter((one) => one.pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      zoom(apart(before) / Math.max(apart(event), 1));
      move(dx / 2, dy / 2);
    } else if (event.shiftKey || event.buttons & 2) move(dx, dy);
    else turn(dx, dy);
    fingers.set(event.pointerId, event);
    changed();
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  // The page scrolls over a view that nobody has touched.
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return;
    event.preventDefault();
    zoom(Math.exp(event.deltaY * (event.deltaMode ? 30 : 1) * ZOOM_PER_PX));
    changed();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const along = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (along) (event.shiftKey ? move : turn)(along[0] * KEY_PX, along[1] * KEY_PX);
    else if (event.key === "+" || event.key === "=") zoom(1 / 1.2);
    else if (event.key === "-") zoom(1.2);
    else if (event.key === "0") Object.assign(where, VIEWS.reset);
    else return;
    event.preventDefault();
    changed();
  });
}

/** A named row of buttons; a press calls `press(name)` and then `refresh`, which asks `isOn(name)` of each. */
function buttonRow(title, names, press, isOn, colours = {}) {
  const row = document.createElement("div");
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", title);
  row.append(Object.assign(document.createElement("span"), { textContent: title }));
  const buttons = names.map((name) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    if (colours[name]) button.style.setProperty("--swatch", colours[name]);
    button.addEventListener("click", () => press(name));
    return button;
  });
  row.append(...buttons);
  const refresh = () => buttons.forEach((button, place) => isOn && button.setAttribute("aria-pressed", isOn(names[place])));
  return { row: names.length > 1 || colours[names[0]] ? row : null, refresh };
}

function startView(figure) {
  const canvas = figure.querySelector("canvas"), notice = figure.querySelector(".notice");
  const controls = figure.querySelector(".controls"), stills = [...figure.querySelectorAll(".stills")];
  const scenes = stills.map((still) => JSON.parse(still.querySelector("script").textContent));
  const where = structuredClone(VIEWS.reset);
  const chosen = { scene: 0, cloud: null, detector: null, hidden: new Set(), byImage: true };
  let painter = null, rows = [], waiting = false;
  const scene = () => scenes[chosen.scene];
  const isShown = (set) => !chosen.hidden.has(set.name) && (!set.detector || set.detector === chosen.detector);

  const draw = () => {
    waiting = false;
    if (painter?.scene !== scene()) return;
    painter.draw(where, { cloud: chosen.cloud, boxes: scene().boxes.map(isShown), byImage: chosen.byImage });
  };
  const redraw = () => {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  };
  const refresh = () => {
    rows.forEach((row) => row.refresh());
    const still = stills[chosen.scene];
    scene().boxes.forEach((set, place) => still.querySelectorAll("path")[place].toggleAttribute("hidden", !isShown(set)));
    for (const map of still.querySelectorAll("[data-cloud]")) map.hidden = map.dataset.cloud !== chosen.cloud;
    const { shown, all } = scene().clouds[chosen.cloud];
    const count = (points) => points.toLocaleString("en").replaceAll(",", "\u2009");
    figure.querySelector(".count").textContent =
      shown < all ? `${count(shown)} of the cloud's ${count(all)} points are drawn.` : `All ${count(all)} points are drawn.`;
    redraw();
  };
  const choose = (change) => {
    Object.assign(chosen, change);
    refresh();
  };
  const open = async (place) => {
    chosen.scene = place;
    const names = (list) => [...new Set(list)];
    const clouds = Object.keys(scene().clouds), detectors = names(scene().boxes.map((set) => set.detector).filter(Boolean));
    if (!clouds.includes(chosen.cloud)) chosen.cloud = clouds[0];
    if (!detectors.includes(chosen.detector)) chosen.detector = detectors[0] ?? null;
    const colours = Object.fromEntries(scene().boxes.map((set) => [set.name, set.colour]));
    const toggle = (name) => {
      if (!chosen.hidden.delete(name)) chosen.hidden.add(name);
      refresh();
    };
    const turnTo = (name) => {
      Object.assign(where, structuredClone(VIEWS[name]));
      redraw();
    };
    const frames = scenes.map((one) => one.name);
    const pointColours = { image: true, height: false };
    const rowsOfView = [
      buttonRow("Cloud", clouds, (cloud) => choose({ cloud }), (name) => name === chosen.cloud),
      buttonRow("Colours", Object.keys(pointColours), (name) => choose({ byImage: pointColours[name] }),
                (name) => pointColours[name] === chosen.byImage),
      buttonRow("View", Object.keys(VIEWS), turnTo),
    ];
    rows = [
      buttonRow("Frame", frames, (name) => open(frames.indexOf(name)), (name) => name === scene().name),
      buttonRow("Detector", detectors, (detector) => choose({ detector }), (name) => name === chosen.detector),
      buttonRow("Boxes", names(scene().boxes.map((set) => set.name)), toggle, (name) => !chosen.hidden.has(name), colours),
      ...(painter ? rowsOfView : rowsOfView.slice(0, 1)),
    ];
    controls.replaceChildren(...rows.map((row) => row.row).filter(Boolean));
    stills.forEach((still, other) => (still.hidden = other !== place));
    refresh();
    if (!painter) return;
    canvas.setAttribute("aria-busy", "true");
    const photo = stills[place].querySelector("img");
    await photo.decode();
    if (chosen.scene !== place) return;
    painter.load(scene(), photo);
    draw();
    canvas.setAttribute("aria-busy", "false");
  };

  // What differs between two disparity models is to be seen first; the oracle's boxes are a press away.
  for (const set of scenes.flatMap((one) => one.boxes)) if (!set.shown) chosen.hidden.add(set.name);
  try {
    painter = new Painter(canvas);
    notice.hidden = true;
    canvas.hidden = false;
    steer(canvas, where, redraw);
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      painter.setUp();
      open(chosen.scene);
    });
    new ResizeObserver(() => {
      const scale = Math.min(window.devicePixelRatio, 2);
      [canvas.width, canvas.height] = [canvas.clientWidth * scale, canvas.clientHeight * scale].map(Math.round);
      draw();
    }).observe(canvas);
    window.addEventListener("beforeprint", draw);
  } catch (error) {
    notice.textContent = `This browser draws no WebGL here (${error.message}): the scene can't be turned. Its pictures are below.`;
    figure.querySelector(".help").hidden = true;
  }
  open(0);
}

document.querySelectorAll("figure.scenes").forEach(startView);
