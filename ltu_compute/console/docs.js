"use strict";

/**
 * Resolves references at once. All of them are within the description, and none is part of itself.
 * Swagger UI's own resolver reads the whole description anew for each part of it that is opened,
 * and once before anything is shown.
 */
const references = {
  statePlugins: {
    spec: {
      wrapActions: {
        requestResolvedSubtree: (_, { specActions, specSelectors }) => (path) => {
          const whole = specSelectors.specJS();
          const at = (names) => names.reduce((part, name) => part?.[name], whole);
          const resolved = (part) => {
            if (Array.isArray(part)) return part.map(resolved);
            if (part === null || typeof part !== "object") return part;
            const { $ref, ...others } = part;
            const own = Object.fromEntries(
              Object.entries(others).map(([name, value]) => [name, resolved(value)]),
            );
            if (typeof $ref !== "string") return own;
            const named = resolved(at($ref.slice("#/".length).split("/")));
            return { ...named, ...own, $$ref: $ref }; // by which Swagger UI names it
          };
          specActions.updateResolvedSubtree(path, resolved(at(path)));
        },
      },
    },
  },
};

const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [references],
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  tryItOutEnabled: true,
  validatorUrl: null,
});
ui.initOAuth({ clientId: "ltu-api" });
