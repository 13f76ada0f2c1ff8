// Puts the newest page in place every 15 s: what is folded out, scrolled to or focused stays so.
// Where there is no newer one, it says so.
"use strict";
setInterval(async () => {
  if (document.hidden) return;
  const stale = document.getElementById("stale");
  let text;
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) throw new Error(response.status);
    text = await response.text();
  } catch (unanswered) {
    stale.textContent = " No newer answer can be had.";
    return; // the next turn may find it again
  }
  const main = document.querySelector("main");
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.querySelector("main");
  if (!fresh || main.contains(document.activeElement) && getSelection().type === "Range") return;
  const open = new Map([...main.querySelectorAll("details")].map((one) => [one.id, one.open]));
  for (const one of fresh.querySelectorAll("details"))
    if (open.has(one.id)) one.open = open.get(one.id);
  const left = new Map([...main.querySelectorAll(".scroll")].map((one) => [one.id, one.scrollLeft]));
  const focused = document.activeElement && document.activeElement.id;
  main.replaceChildren(...fresh.childNodes);
  for (const id of ["host", "asof"]) document.getElementById(id).replaceWith(page.getElementById(id));
  stale.textContent = "";
  for (const [id, x] of left) {
    const one = document.getElementById(id);
    if (one) one.scrollLeft = x;
  }
  const again = focused && document.getElementById(focused);
  if (again) again.focus({ preventScroll: true });
}, 15000);
