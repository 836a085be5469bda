"""Facts that devices state about themselves: descriptions of UPnP and service roots of Redfish, fetched by HTTP."""
