// What the parts of a page do beyond plain HTML. Every page works without it.
"use strict";

// A button that copies what stands in the element that data-copy names.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const from = document.getElementById(button.dataset.copy);
  const label = button.querySelector("span");
  const said = label.textContent;
  try {
    await navigator.clipboard.writeText(from.value ?? from.textContent);
    label.textContent = button.dataset.copied;
  } catch {
    getSelection().selectAllChildren(from);
    label.textContent = button.dataset.select;
  }
  setTimeout(() => { label.textContent = said; }, 2000);
});

// A link that opens the dialog which data-dialog names, instead of the page
// that asks the same.
document.addEventListener("click", (event) => {
  const opener = event.target.closest?.("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    dialog.showModal();
  }
  const close = event.target.closest?.("[data-close]");
  if (close) {
    event.preventDefault();
    close.closest("dialog").close();
  }
});

// The menu of a narrow screen closes by Escape.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && location.hash === "#menu") location.hash = "#main";
});
