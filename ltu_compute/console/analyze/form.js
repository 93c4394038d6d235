/**
 * The settings of an operation as a form, made from what the service declares of them.
 * @module
 */
import { RECIPE } from "./comparison.js";
import { newId, numberField } from "./controls.js";
import { fill, h, replace } from "./dom.js";
import { known, languageName, number, read, t, written } from "./i18n.js";
import { wordsOf } from "./reply.js";

/** @typedef {import("./operations.js").Field} Field */
/** @typedef {import("./operations.js").Operation} Operation */
/**
 * @typedef {object} Preset
 * @property {number} preset
 * @property {string} name
 * @property {string} purpose
 * @property {Record<string, any>} settings
 * @property {Record<string, any>} own_settings what the page changes of them
 */
/** @typedef {Record<string, any>} Values */

const PRESET = "preset"; // the parameter that chooses one of an operation's presets
const STEPS = 1000; // of a slider
const WIDE = 20; // times what is usual: from there on a slider is finer at its low end
const USUAL_AT = 1 / 3; // of the slider's length

export class Form {
  /**
   * @param {Operation} operation
   * @param {Values} values changed in place
   * @param {Preset[]} presets
   * @param {(moving?: boolean) => void} onchange moving: a slider is being dragged
   */
  constructor(operation, values, presets, onchange) {
    this.operation = operation;
    this.values = values;
    this.presets = presets;
    this.onchange = onchange;
    for (const { name, kind } of operation.fields) {
      if (kind === "object") values[name] ??= this.#own();
    }
    this.element = h("form", {
      class: "form",
      novalidate: true,
      onsubmit: (/** @type {Event} */ e) => e.preventDefault(),
    });
    /** @type {Map<string, HTMLElement>} places for problems with a parameter */
    this.problems = new Map();
    /** @type {Map<number, number | null>} differences that presets find on the pair at hand */
    this.counts = new Map();
    this.render();
  }

  /**
   * Say how many differences the presets find on the pair at hand.
   * @param {import("./counts.js").Counted[]} counts
   */
  count(counts) {
    this.counts = new Map(counts.map(({ preset, count }) => [preset, count]));
    for (const place of this.element.querySelectorAll("[data-count]")) {
      this.#showCount(place, Number(place.getAttribute("data-count")));
    }
  }

  /**
   * @param {Element} place
   * @param {number} preset
   */
  #showCount(place, preset) {
    const count = this.counts.get(preset);
    replace(
      place,
      typeof count === "number" && [
        h("span", { "aria-hidden": true }, number(count)),
        h("span", { class: "quietly" }, t("preset-count", { n: count })),
      ],
    );
    place.setAttribute("title", typeof count === "number" ? t("preset-count", { n: count }) : "");
  }

  render() {
    this.problems.clear();
    const fields = this.operation.fields.filter(({ name }) => name !== RECIPE);
    const layered = fields.some((field) => field.kind === "object");
    const first = fields.filter(
      (field) => !layered || field.kind === "object" || field.name === PRESET,
    );
    const rest = fields.filter((field) => !first.includes(field));
    replace(
      this.element,
      !fields.length && h("p", { class: "muted" }, t("no-settings")),
      first.map((field) => this.#row(field)),
      rest.length > 0 &&
        h(
          "details",
          { class: "more" },
          h("summary", {}, t("more-settings")),
          rest.map((field) => this.#row(field)),
        ),
    );
  }

  /** Return the name of the preset that is chosen; empty where there are none. */
  get presetName() {
    const preset = this.#presetNow();
    return preset ? presetName(preset) : "";
  }

  /**
   * Return what counts for every setting, given or not, by its name on the wire.
   * @returns {[string, any][]}
   */
  effective() {
    const preset = this.#presetNow();
    /** @type {[string, any][]} */
    const counting = [];
    for (const field of this.operation.fields) {
      const value = this.values[field.name];
      if (field.kind !== "object") counting.push([field.name, value ?? field.initial]);
      for (const { name, initial } of field.fields) {
        const said = value?.[name] ?? preset?.settings[name] ?? initial;
        counting.push([`${field.name}.${name}`, said]);
      }
    }
    return counting;
  }

  /**
   * Show problems beside the parameters that they name; return the others.
   * @param {{parameter: string, message: string}[]} problems
   */
  tell(problems) {
    for (const [name, place] of this.problems) this.#mark(name, place, "");
    return problems.filter(({ parameter, message }) => {
      const place = this.problems.get(parameter);
      if (!place) return true;
      this.#mark(parameter, place, message);
      const folded = place.closest("details");
      if (folded) folded.open = true;
      return false;
    });
  }

  /**
   * @param {string} name
   * @param {HTMLElement} place
   * @param {string} message
   */
  #mark(name, place, message) {
    place.textContent = message;
    for (const input of this.element.querySelectorAll(`[name="${name}"]`)) {
      if (message) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
  }

  /** @param {Field} field */
  #row(field) {
    if (field.kind === "object") return this.#group(field);
    if (field.name === PRESET && this.presets.length) return this.#presetRow(field);
    const given = this.values[field.name] ?? field.initial;
    return this.#control(field, field.name, given, (value, moving) => {
      this.values[field.name] = value;
      this.onchange(moving);
    });
  }

  /** @param {Field} field */
  #presetRow(field) {
    const chosen = this.values[field.name] ?? field.initial;
    const label = newId("preset");
    const problem = this.#problem(field.name);
    return h(
      "fieldset",
      { class: "presets", "aria-describedby": problem.id },
      h("legend", { id: label }, labelOf(field)),
      this.presets.map((preset) => {
        const input = h("input", {
          type: "radio",
          name: field.name,
          value: String(preset.preset),
          checked: preset.preset === chosen,
        });
        input.addEventListener("change", () => {
          this.values[field.name] = preset.preset;
          for (const other of this.operation.fields) {
            if (other.kind === "object") this.values[other.name] = this.#own();
          }
          this.render();
          this.element
            .querySelector(`[name="${field.name}"][value="${preset.preset}"]`)
            // @ts-ignore: an input
            ?.focus();
          this.onchange();
        });
        const count = h("span", { class: "count", "data-count": preset.preset });
        this.#showCount(count, preset.preset);
        return h(
          "label",
          {},
          input,
          h(
            "span",
            {},
            h("b", {}, presetName(preset)),
            h("small", {}, ` ${t("preset-number", { n: preset.preset })}`),
          ),
          count,
          h("small", { class: "purpose" }, known(`preset.${preset.preset}`) ?? preset.purpose),
        );
      }),
      problem,
    );
  }

  /** @param {Field} field */
  #group(field) {
    const given = (this.values[field.name] ??= {});
    const preset = this.#presetNow();
    const own = this.#own();
    const isChanged = (/** @type {string} */ name) => name in given && given[name] !== own[name];
    const note = h("p", { class: "changed" });
    const tell = () => {
      const count = Object.keys(given).filter(isChanged).length;
      replace(
        note,
        preset && count > 0 && h("span", {}, t("changed", { n: count })),
        count > 0 &&
          h(
            "button",
            {
              type: "button",
              class: "quiet small",
              onclick: () => {
                this.values[field.name] = this.#own();
                this.render();
                this.onchange();
              },
            },
            preset ? t("back-to-preset", { name: presetName(preset) }) : t("reset"),
          ),
      );
    };
    const rows = field.fields.map((inner) => {
      const base = preset?.settings[inner.name] ?? inner.initial;
      const row = this.#control(
        inner,
        `${field.name}.${inner.name}`,
        given[inner.name] ?? base,
        (value, moving) => {
          if (value === base && !(inner.name in own)) delete given[inner.name];
          else given[inner.name] = value;
          row.classList.toggle("is-changed", isChanged(inner.name));
          tell();
          this.onchange(moving);
        },
        base,
      );
      row.classList.toggle("is-changed", isChanged(inner.name));
      return row;
    });
    tell();
    const problem = this.#problem(field.name);
    return h(
      "fieldset",
      { class: "group", "aria-describedby": problem.id },
      h("legend", {}, labelOf(field)),
      note,
      problem,
      rows,
    );
  }

  /** Return a copy of what the page changes of the preset's settings. */
  #own() {
    return { ...this.#presetNow()?.own_settings };
  }

  #presetNow() {
    const field = this.operation.fields.find((each) => each.name === PRESET);
    const chosen = this.values[PRESET] ?? field?.initial;
    return this.presets.find((preset) => preset.preset === chosen) ?? null;
  }

  /**
   * @param {Field} field
   * @param {string} name on the wire, with that of its object
   * @param {any} value
   * @param {(value: any, moving?: boolean) => void} give
   * @param {any} [usual] what a preset says
   */
  #control(field, name, value, give, usual = field.initial) {
    const id = newId("field");
    const problem = this.#problem(name);
    const help = h(
      "p",
      { class: "help", id: `${id}-help` },
      known(`${name}?`) ?? field.description,
    );
    const props = { id, name, "aria-describedby": `${help.id} ${problem.id}` };
    const label = h("label", { for: id }, labelOf(field));
    const row = h("div", { class: `field ${field.kind}` });
    const bounded = field.minimum !== undefined && field.maximum !== undefined;
    if (field.kind === "flag") {
      const input = h("input", { ...props, type: "checkbox", checked: value === true });
      input.addEventListener("change", () => give(input.checked));
      fill(row, h("div", { class: "line" }, input, label));
    } else if (field.kind === "choice") {
      const options = this.#optionsOf(field).map((option) =>
        h("option", { value: option, selected: option === value }, optionWords(field, option)),
      );
      const select = h("select", props, options);
      select.addEventListener("change", () => {
        give(select.value);
        this.#renderDependent(field);
      });
      fill(row, h("div", { class: "line" }, label, select));
    } else if (field.kind === "color") {
      const input = h("input", { ...props, type: "color", value: hexOf(String(value)) });
      input.addEventListener("input", () => give(bgrOf(input.value), true));
      fill(row, h("div", { class: "line" }, label, input));
    } else if (field.kind === "number" && field.words.length) {
      fill(row, ...numberOrWord(field, props, label, value, usual, give));
    } else if (field.kind === "number" && bounded) {
      fill(row, ...slider(field, props, label, Number(value), Number(usual), give));
    } else if (field.kind === "number") {
      const input = numberField(props, field, read(String(value)));
      input.addEventListener("input", () => give(given(input.value)));
      fill(row, h("div", { class: "line" }, label, input));
    } else {
      const text = { type: "text", value: String(value), autocomplete: "off", spellcheck: "false" };
      const input = h("input", { ...props, ...text });
      input.addEventListener("input", () => give(input.value));
      fill(row, h("div", { class: "line" }, label, input));
    }
    fill(row, help, problem);
    return row;
  }

  /** @param {Field} field */
  #optionsOf({ by, options }) {
    if (!by) return options;
    const other = this.operation.fields.find(({ name }) => name === by.name);
    const found = by.options[this.values[by.name] ?? other?.initial] ?? [];
    return ["", ...found];
  }

  /**
   * Show the options that depend on a field; a choice that is none of them any more goes.
   * @param {Field} changed
   */
  #renderDependent(changed) {
    const dependent = this.operation.fields.filter(({ by }) => by?.name === changed.name);
    if (!dependent.length) return;
    for (const field of dependent) {
      if (!this.#optionsOf(field).includes(this.values[field.name])) delete this.values[field.name];
    }
    this.render();
    const select = this.element.querySelector(`[name="${changed.name}"]`);
    if (select instanceof HTMLElement) select.focus();
  }

  /** @param {string} name */
  #problem(name) {
    const place = h("p", { class: "problem", id: newId("problem"), role: "alert" });
    this.problems.set(name, place);
    return place;
  }
}

/**
 * Return a choice of words and of a number, and the number's slider where that is chosen.
 * @param {Field} field
 * @param {{id: string, name: string}} props
 * @param {HTMLElement} label
 * @param {any} value
 * @param {any} usual
 * @param {(value: any, moving?: boolean) => void} give
 */
function numberOrWord(field, props, label, value, usual, give) {
  const word = field.words.includes(value) ? value : "";
  const first = typeof usual === "number" ? usual : Number(field.initial);
  const [line, range] = slider(field, props, label, word ? first : Number(value), first, give);
  const select = h(
    "select",
    { name: props.name, "aria-label": labelOf(field) },
    ["", ...field.words].map((each) =>
      h("option", { value: each, selected: each === word }, each || t("a-number")),
    ),
  );
  const show = () => {
    range.hidden = select.value !== "";
    /** @type {any} */ (line.querySelector("input")).hidden = select.value !== "";
  };
  select.addEventListener("change", () => {
    show();
    give(select.value || given(/** @type {any} */ (line.querySelector("input")).value));
  });
  show();
  line.append(select);
  return [line, range];
}

/**
 * Return a number's slider, and beside it the number for those who know it.
 * @param {Field} field
 * @param {{id: string, name: string}} props
 * @param {HTMLElement} label
 * @param {number} value
 * @param {number} usual
 * @param {(value: any, moving?: boolean) => void} give
 */
function slider(field, props, label, value, usual, give) {
  const scale = scaleOf(field, usual);
  const exact = numberField(props, field, value);
  const range = h("input", {
    type: "range",
    min: 0,
    max: STEPS,
    value: String(scale.position(value)),
    "aria-label": labelOf(field),
    "aria-valuetext": number(value, 3),
    name: props.name,
  });
  range.addEventListener("input", () => {
    const chosen = scale.value(Number(range.value));
    exact.value = written(chosen);
    exact.setAttribute("aria-valuenow", String(chosen));
    range.setAttribute("aria-valuetext", number(chosen, 3));
    give(chosen, true);
  });
  exact.addEventListener("input", () => {
    const chosen = given(exact.value);
    if (chosen === "") return; // about to be typed
    if (typeof chosen === "string") return give(chosen); // the service says what is allowed
    range.value = String(scale.position(chosen));
    range.setAttribute("aria-valuetext", number(chosen, 3));
    give(chosen);
  });
  exact.addEventListener("change", () => {
    if (given(exact.value) === "") {
      exact.value = written(usual);
      exact.dispatchEvent(new Event("input"));
    }
  });
  return [h("div", { class: "line" }, label, exact), range];
}

/**
 * Return what a field for a number is sent as: what is no number goes as it is written.
 * @param {string} text
 */
function given(text) {
  const value = read(text);
  return value === undefined || Number.isNaN(value) ? text.trim() : value;
}

/**
 * Return which number is where on a slider: evenly, or, where the range is far wider than what is
 * usual, by a power that puts the usual number at a third.
 * @param {Field} field
 * @param {number} usual
 */
export function scaleOf(field, usual) {
  const low = field.minimum ?? 0;
  const range = (field.maximum ?? 1) - low;
  const reference = usual > low ? usual - low : Math.cbrt(range);
  const power = range / reference > WIDE ? Math.log(reference / range) / Math.log(USUAL_AT) : 1;
  return {
    position: (/** @type {number} */ value) =>
      Math.round(STEPS * Math.min(1, Math.max(0, (value - low) / range)) ** (1 / power)),
    value: (/** @type {number} */ position) => {
      const exact = low + range * (position / STEPS) ** power;
      return field.whole ? Math.round(exact) : Number(exact.toPrecision(3));
    },
  };
}

/** @param {Preset} preset */
export function presetName({ preset, name }) {
  return known(`preset.${preset}.name`) ?? name.charAt(0).toUpperCase() + name.slice(1);
}

/**
 * Return what the page calls a choice.
 * @param {Field} field
 * @param {string} option
 */
function optionWords({ name }, option) {
  const words = known(`=${name}.${option}`);
  if (words) return words;
  if (!option) return t("service-default");
  return name === "language" ? languageName(option) : option;
}

/**
 * Return a colour as an input has it.
 * @param {string} bgr blue, green, red and perhaps opacity, with commas
 */
function hexOf(bgr) {
  const [blue, green, red] = bgr.split(",").map(Number);
  return `#${[red, green, blue].map((level) => (level || 0).toString(16).padStart(2, "0")).join("")}`;
}

/** @param {string} hex */
function bgrOf(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `${blue},${green},${red},255`;
}

/** @param {Field} field */
export function labelOf(field) {
  return wordsOf(field.name);
}
