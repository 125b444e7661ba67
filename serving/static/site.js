// What pages gain with JavaScript: language names, filters that apply as they change, a prediction without a reload.
// Every page works without it.
"use strict";

const languageNames = new Intl.DisplayNames(["en"], { type: "language" });
// Codes of TMDB's own.
const ownNames = { cn: "Cantonese", xx: "No language", mo: "Moldavian", sh: "Serbo-Croatian" };

function languageName(code) {
  try {
    return ownNames[code] ?? languageNames.of(code) ?? code;
  } catch {
    return code;
  }
}

function nameLanguages(root) {
  for (const element of root.querySelectorAll("[data-language]")) {
    element.textContent = languageName(element.dataset.language);
  }
  for (const select of root.querySelectorAll("[data-languages]")) {
    const chosen = select.value;
    const [first, ...rest] = select.options;
    rest.sort((a, b) => a.text.localeCompare(b.text));
    select.append(first, ...rest);
    select.value = chosen;
  }
}

async function fetchPage(url, options) {
  const response = await fetch(url, { headers: { Accept: "text/html" }, ...options });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  nameLanguages(page);
  return page;
}

function filterAsTheyChange(form) {
  // On a phone the list should come before all the fields that one may fill in.
  const more = form.querySelector("details");
  const narrow = matchMedia("(max-width: 40rem)");
  const fold = () => {
    more.open = !narrow.matches || Boolean(more.querySelector("[aria-invalid]"));
  };
  narrow.addEventListener("change", fold);
  fold();

  const results = document.getElementById("results");
  let shown = location.pathname + location.search;
  let underWay = new AbortController();
  let pause;

  function url() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      const initial = form.querySelector(`[name="${name}"][data-default]`)?.dataset.default;
      if (value.trim() && value !== initial) query.append(name, value);
    }
    return query.size ? `/?${query}` : "/";
  }

  async function show(address) {
    clearTimeout(pause);
    underWay.abort();
    const mine = (underWay = new AbortController());
    results.setAttribute("aria-busy", "true");
    try {
      const page = await fetchPage(address, { signal: mine.signal });
      const found = page.getElementById("results");
      if (!found) throw new Error("not the list");
      results.replaceChildren(...found.childNodes);
      // What was left blank may have a default that the list follows.
      for (const field of form.querySelectorAll("input[data-default]")) {
        if (!field.value) field.value = page.getElementById(field.id)?.value ?? "";
      }
      for (const error of form.querySelectorAll(".error")) {
        const text = page.getElementById(error.id)?.textContent ?? "";
        error.textContent = text;
        const field = document.getElementById(error.id.replace("-error", ""));
        if (text) field.setAttribute("aria-invalid", "true");
        else field.removeAttribute("aria-invalid");
      }
      const wrong = [...form.querySelectorAll(".error")].map((error) => error.textContent).find(Boolean);
      document.getElementById("announcement").textContent = wrong ?? results.querySelector("[data-count]").textContent;
    } catch (error) {
      if (error.name !== "AbortError") location.assign(address);
    } finally {
      if (mine === underWay) results.removeAttribute("aria-busy");
    }
  }

  function apply({ typing = false } = {}) {
    const address = url();
    if (address === shown) return;
    shown = address;
    // Going back should undo a choice, not a letter.
    if (typing) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    show(address);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  form.addEventListener("change", (event) => {
    // A choice that replaces several genres given in the address means just this one.
    if (event.target.name === "genre") form.querySelectorAll('input[type="hidden"]').forEach((field) => field.remove());
    apply();
  });
  form.addEventListener("input", (event) => {
    if (event.target.type !== "search") return;
    clearTimeout(pause);
    pause = setTimeout(() => apply({ typing: true }), 300);
  });
  // Back and forward: the fields must follow, too, so the page is loaded.
  window.addEventListener("popstate", () => {
    // Not for a jump within the page, to the content, say.
    if (location.pathname + location.search !== shown) location.reload();
  });
}

function predictInPlace() {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("[data-try]")) return;
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const page = await fetchPage(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const found = page.getElementById("try");
      if (!found) throw new Error("not the form");
      document.getElementById("try").replaceWith(document.adoptNode(found));
      document.title = page.title;
      (document.getElementById("summary") ?? document.getElementById("result")).focus();
    } catch {
      form.submit();
    }
  });
}

nameLanguages(document);
document.documentElement.classList.add("enhanced");
const filters = document.querySelector("[data-filters]");
if (filters) filterAsTheyChange(filters);
if (document.querySelector("[data-try]")) predictInPlace();
document.getElementById("summary")?.focus();
