location.replace(document.body.dataset.to + location.hash.slice(location.hash.indexOf("?")));
