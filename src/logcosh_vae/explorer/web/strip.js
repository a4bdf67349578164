// The test images: to reconstruct, or as ends of an interpolation.

function showTestImages(explorer, use) {
  const strip = byId("test-images");
  byId("test-section").hidden = explorer.images.length === 0;
  const buttons = explorer.images.map((image, i) => {
    const label = explorer.labels === null ? "" : `, label ${explorer.labels[i]}`;
    const name = `Test image ${i + 1}${label}`;
    const canvas = imageCanvas(explorer.shape, "");
    canvas.setAttribute("aria-hidden", "true");
    paint(canvas, image, explorer.shape);
    return element(
      "button",
      { type: "button", class: "thumbnail", title: name, "aria-label": name, draggable: "true",
        click: () => use(image),
        dragstart: (event) => event.dataTransfer.setData(DRAGGED_IMAGE, String(i)) },
      canvas,
    );
  });
  clear(strip, ...buttons);
}

// Makes the tabs work: one panel is visible, and arrow keys change between them.
function connectTabs(onChange) {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const select = (tab, focus) => {
    for (const each of tabs) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      byId(each.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
    onChange(tab.id);
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => select(tab, false));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step !== undefined) select(tabs[(i + step + tabs.length) % tabs.length], true);
    });
  });
  select(tabs[0], false);
}
