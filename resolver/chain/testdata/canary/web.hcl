config_entries {
  bootstrap = [
    {
      Kind     = "service-defaults"
      Name     = "web"
      Protocol = "http"
      Expose { Checks = true }
    },
    {
      Kind = "service-splitter"
      Name = "web"
      Splits = [
        { Weight = 95 ServiceSubset = "v1" },
        { Weight = 5  ServiceSubset = "v2" },
      ]
    },
  ]
}
