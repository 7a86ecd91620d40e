// A test of a profile: the login opens in a window of its own, and the steps
// appear as they are done. The page works without it.
"use strict";

(() => {
  const popup = "behalf-test";

  // The window is opened in the click itself, or the browser would not allow it;
  // the page that comes next sends it to the login.
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-test]") || event.submitter?.value === "quick") return;
    if (open("about:blank", popup, "popup,width=520,height=760")) sessionStorage.setItem(popup, "open");
  });

  const login = document.querySelector("[data-login]");
  if (login) {
    history.replaceState(null, "", login.dataset.page); // a reload shows this test, and begins no other
    if (sessionStorage.getItem(popup)) {
      sessionStorage.removeItem(popup);
      login.submit();
    }
  }

  const result = document.querySelector("[data-follow]");
  if (!result) return;
  // What is the same stays, so that what the reader has opened stays open.
  const show = (html) => {
    const next = document.createElement("div");
    next.innerHTML = html;
    const old = [...result.querySelectorAll(".steps > li")];
    next.querySelectorAll(".steps > li").forEach((item, i) => {
      const before = old[i];
      if (before && before.dataset.was === item.innerHTML) item.replaceWith(before);
      else item.dataset.was = item.innerHTML;
    });
    result.replaceChildren(...next.childNodes);
  };
  const source = new EventSource(result.dataset.follow);
  source.addEventListener("steps", (event) => show(event.data));
  source.addEventListener("end", (event) => {
    source.close();
    login?.remove();
    show(event.data);
  });
})();
