local conditions = {}
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  conditions[condition.type] = condition.status == "True"
end
local suspended = obj.spec.suspend == true

return {
  suspend = {disabled = suspended or conditions.Finished == true, iconClass = "fa-solid fa-pause"},
  resume = {disabled = not suspended or conditions.Finished == true, iconClass = "fa-solid fa-play"},
  retry = {disabled = conditions.Failed ~= true, iconClass = "fa-solid fa-rotate-right"}
}
