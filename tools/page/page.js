// The network of this page: its contents are JSON, its code and weights are WebAssembly.
const element = (id) => document.getElementById(id);
const net = JSON.parse(element("contents").textContent);
const { width, height } = net;
const MOST_SAMPLES = 100, MEASURED_MS = 30, WARM_MS = 120, IDLE_MS = 300;

async function unpacked(text) {
  const packed = new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]);
  const plain = packed.stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

async function started() {
  try {
    const wasm = await unpacked(net.wasm);
    return { size: wasm.length, ...(await WebAssembly.instantiate(wasm)) };
  } catch (error) {
    element("failure").textContent =
      `This browser does not run the network: it needs WebAssembly with SIMD. (${error.message})`;
    element("failure").hidden = false;
    throw error;
  }
}

const { size, instance } = await started();
const shadesOfGroups = await Promise.all(net.groups.map(({ shades }) => unpacked(shades)));
// From here on nothing waits: whoever clicks early finds all of the page.
const { memory, page_begin: begin, page_take: take, page_predict: predict } = instance.exports;
const view = (name, count) =>
  new Float32Array(memory.buffer, instance.exports[name].value, count);
const classes = net.classes.length;
const input = view("page_input", width * height);
const sample = view("page_sample", net.binary ? 1 : classes);
const prediction = view("page_prediction", classes + 2);

// ---- the drawing ---------------------------------------------------------------------------
const canvas = element("canvas"), cursor = element("cursor");
const pen = canvas.getContext("2d", { willReadFrequently: true });
const hand = { x: width / 2, y: height / 2, down: false }; // in pixels of the image
canvas.width = width;
canvas.height = height;
pen.lineCap = "round";

function paint(target, shades) {
  const image = target.createImageData(width, height);
  shades.forEach((shade, i) => image.data.set([shade, shade, shade, 255], 4 * i));
  target.putImageData(image, 0, 0);
}

function drawTo(x, y) {
  const erasing = element("erase").ariaPressed === "true";
  pen.strokeStyle = erasing ? "#000" : "#fff";
  pen.lineWidth = element("brush").valueAsNumber;
  pen.beginPath();
  pen.moveTo(hand.x, hand.y);
  pen.lineTo(x, y);
  pen.stroke();
  choose(null, "Your drawing");
}

function move(x, y) {
  const [toX, toY] = [Math.max(0, Math.min(width, x)), Math.max(0, Math.min(height, y))];
  if (hand.down) drawTo(toX, toY);
  [hand.x, hand.y] = [toX, toY];
  const scale = canvas.clientWidth / width, size = element("brush").valueAsNumber * scale;
  cursor.style.cssText = `width: ${size}px; height: ${size}px;
    left: ${canvas.offsetLeft + toX * scale - size / 2}px;
    top: ${canvas.offsetTop + toY * scale - size / 2}px`;
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  move(((event.clientX - box.left) / box.width) * width,
    ((event.clientY - box.top) / box.height) * height);
}

function clear() {
  paint(pen, new Uint8Array(width * height));
  choose(null, "Draw here");
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  place(event);
  hand.down = true;
  place(event);
});
canvas.addEventListener("pointermove", (event) => {
  const parts = event.getCoalescedEvents?.() ?? [];
  if (hand.down) (parts.length ? parts : [event]).forEach(place);
});
for (const end of ["pointerup", "pointercancel", "blur"])
  canvas.addEventListener(end, () => { hand.down = false; });

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (event.key === " ") hand.down = true;
  else if (event.key === "Delete" || event.key === "Backspace") clear();
  else if (!step) return;
  event.preventDefault();
  move(hand.x + (step?.[0] ?? 0), hand.y + (step?.[1] ?? 0));
});
canvas.addEventListener("keyup", (event) => { if (event.key === " ") hand.down = false; });
canvas.addEventListener("focus", () => move(hand.x, hand.y));
element("clear").addEventListener("click", clear);
element("erase").addEventListener("click", ({ currentTarget: erase }) => {
  erase.ariaPressed = String(erase.ariaPressed !== "true");
});

// ---- the images to choose from ---------------------------------------------------------------
function choose(button, caption) {
  for (const other of document.querySelectorAll(".images button"))
    other.ariaPressed = String(other === button);
  element("caption").textContent = caption;
  refresh();
}

net.groups.forEach(({ title, names }, group) => {
  const heading = document.createElement("h3"), images = document.createElement("div");
  heading.textContent = title;
  images.className = "images";
  element("groups").append(heading, images);
  names.forEach((name, i) => {
    const button = document.createElement("button"), picture = document.createElement("canvas");
    const pixels = shadesOfGroups[group].subarray(
      i * width * height, (i + 1) * width * height);
    [picture.width, picture.height] = [width, height];
    paint(picture.getContext("2d"), pixels);
    button.type = "button";
    button.ariaLabel = button.title = name;
    button.append(picture);
    button.addEventListener("click", () => {
      paint(pen, pixels);
      choose(button, name);
    });
    images.append(button);
  });
});

// ---- the answer ------------------------------------------------------------------------------
const rows = net.classes.map((name) => {
  const row = element("classes").insertRow();
  row.innerHTML = `<th scope="row"></th><td><div class="samples" aria-hidden="true"><div></div>
    <svg viewBox="0 0 100 1" preserveAspectRatio="none"><path/></svg></div></td><td></td>`;
  row.cells[0].textContent = name;
  return { row, bar: row.querySelector(".samples div"), ticks: row.querySelector("path") };
});

function shares(logits) {
  const all = net.binary ? [0, logits[0]] : [...logits], top = Math.max(...all);
  const powers = all.map((logit) => Math.exp(logit - top));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}

const percent = (p) => `${Math.round(100 * p)} %`;

function answer() {
  const seed = element("seed").valueAsNumber, count = element("samples").valueAsNumber;
  const { data } = pen.getImageData(0, 0, width, height), logits = [];
  for (let i = 0; i < input.length; i++) input[i] = data[4 * i] * net.step + net.black;
  begin(BigInt(seed));
  for (let number = 0; number < count; number++) {
    take(number);
    logits.push(Array.from(sample));
  }
  predict(BigInt(seed), count);
  const detail = {
    seed, samples: logits, probabilities: [...prediction.subarray(0, classes)],
    entropy: prediction[classes], mutualInformation: prediction[classes + 1],
  };
  show(detail);
  document.dispatchEvent(new CustomEvent("prediction", { detail }));
}

function show({ seed, samples, probabilities, entropy, mutualInformation }) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const each = samples.map(shares), most = Math.log(classes);
  rows.forEach(({ row, bar, ticks }, k) => {
    row.classList.toggle("first", k === best);
    row.cells[2].textContent = percent(probabilities[k]);
    bar.style.width = `${100 * probabilities[k]}%`;
    ticks.setAttribute("d", each.map((p) => `M${(100 * p[k]).toFixed(1)} 0V1`).join(""));
  });
  element("winner").textContent = net.classes[best];
  element("chance").textContent = percent(probabilities[best]);
  const disagreement = Math.max(0, mutualInformation);
  element("disagreement-bar").style.width = `${(100 * disagreement) / most}%`;
  element("ambiguity-bar").style.width = `${(100 * (entropy - disagreement)) / most}%`;
  for (const id of ["entropy", "verdict-entropy"]) element(id).textContent = entropy.toFixed(2);
  element("most").textContent = most.toFixed(2);
  element("information").textContent = disagreement.toFixed(2);
  element("expected").textContent = Math.abs(entropy - disagreement).toFixed(2);
  element("samples-value").textContent = samples.length;
  element("seed-value").textContent = seed;
}

// ---- time: clocks of browsers are coarse, so that many predictions are timed when nothing else is
function millisecondsOf(seed, count, duration) {
  const start = performance.now();
  let made = 0, passed = 0;
  for (; passed < duration; passed = performance.now() - start) {
    predict(seed, count);
    made++;
  }
  return passed / made;
}

let warm = false; // browsers compile a second time what runs often
function measure() {
  const seed = BigInt(element("seed").valueAsNumber), count = element("samples").valueAsNumber;
  if (!warm) millisecondsOf(seed, count, WARM_MS);
  warm = true;
  const each = millisecondsOf(seed, count, MEASURED_MS), unit = each < 1 ? [1000 * each, "µs"] : [each, "ms"];
  element("time").textContent =
    `A prediction with ${count} samples takes ${unit[0].toPrecision(3)} ${unit[1]} on this device.`;
  element("spoken").textContent = `${element("winner").textContent},
    ${element("chance").textContent}, entropy ${element("entropy").textContent},
    mutual information ${element("information").textContent}`;
}

let frame = 0, idle = 0;
function refresh() {
  cancelAnimationFrame(frame);
  clearTimeout(idle);
  frame = requestAnimationFrame(answer);
  idle = setTimeout(measure, IDLE_MS);
}

const most = Math.max(net.samples, MOST_SAMPLES - (MOST_SAMPLES % net.members));
const slider = element("samples");
Object.assign(slider, { min: net.members, max: most, step: net.members });
slider.value = net.samples;
for (const id of ["samples", "seed"]) element(id).addEventListener("input", refresh);
element("about").textContent = `${net.about}. ${(size / 1000).toFixed(0)} kB of WebAssembly
  with all weights, compiled by qbnnc. The page asks the internet for nothing, and what you draw
  stays here.`;

const first = document.querySelector(".images button");
if (first) first.click();
else clear();
