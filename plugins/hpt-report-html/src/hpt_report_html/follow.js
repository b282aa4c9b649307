// Follows the study: asks for the page again and again, and replaces what has changed.
const say = (text) => { document.getElementById("live").textContent = text; };

const boxes = () => [...document.querySelectorAll(".scroll")];

const update = (page) => {
  const top = scrollY; // now, as the page gets shorter when the figures leave it
  const lefts = boxes().map((box) => box.scrollLeft);
  const drawn = new Map([...document.querySelectorAll("figure")].map((f) => [f.getAttribute("aria-label"), f]));
  for (const figure of page.querySelectorAll("figure")) {
    const old = drawn.get(figure.getAttribute("aria-label"));
    if (old) {
      old.id = figure.id;
      figure.replaceWith(old);
    }
  }
  document.body.dataset.position = page.body.dataset.position;
  document.body.replaceChildren(...page.body.childNodes);
  draw();
  scrollTo(0, top);
  boxes().forEach((box, i) => { box.scrollLeft = lefts[i] ?? 0; });
};

const follow = async () => {
  const start = performance.now();
  try {
    const answer = await fetch(`update?after=${document.body.dataset.position}`);
    if (answer.status === 200)
      update(new DOMParser().parseFromString(await answer.text(), "text/html"));
    say(answer.ok ? `Live. Last checked at ${new Date().toLocaleTimeString()}.` : await answer.text());
  } catch {
    say("Not live: the command `hpt dashboard` does not answer.");
  }
  setTimeout(follow, Math.max(5000, 20 * (performance.now() - start))); // a large study takes seconds to read
};
setTimeout(follow, 5000);
